#!/usr/bin/env bash
# Deploys the foreign guests in the folder OUT to a host of its own, and asks each: see README.md.
set -euo pipefail
out=$(cd "${1:?usage: try.sh OUT}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
hms="$here/../../target/debug/hms"
data=$(mktemp -d)
gateway=127.0.0.1:19000 admin=127.0.0.1:19001

mkdir "$data/routes"
for window in wasmcloud python python-spin javascript; do
    printf 'uri: /%s/**\nupstream: http://hms-svc-%s\nstrip-prefix: /%s\n' $window $window $window \
        >"$data/routes/$window.yaml"
done
"$hms" serve --gateway $gateway --admin $admin --data "$data/data" --routes "$data/routes" \
    >"$data/log" 2>&1 &
host=$!
trap 'kill $host; wait $host || true; rm -rf "$data"' EXIT
until curl -fs "http://$admin/readyz" >/dev/null; do sleep 0.2; done

deploy() { "$hms" deploy --data "$data/data" --admin $admin "$@" | tail -n 2; }
ask() { printf '%-36s ' "$1"; curl -s --max-time 60 "http://$gateway$1"; }

deploy "$out/wasmcloud.wasm"
ask '/wasmcloud/config?currency'
ask '/wasmcloud/log?hello'
ask '/wasmcloud/keyvalue'
"$hms" logs wasmcloud --data "$data/data" --admin $admin | tail -n 1
deploy "$out/python.wasm"
ask /python/
ask /python/
deploy "$out/python-spin.wasm" --trap-unknown
ask /python-spin/
ask /python-spin/kv
ask '/python-spin/variable?currency'
deploy "$out/javascript.wasm"
ask /javascript/
ask /javascript/
