#!/usr/bin/env bash
# Builds the foreign guests into the folder OUT: see README.md.
set -euo pipefail
out=$(mkdir -p "${1:?usage: build.sh OUT}" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)

cargo build --release --target wasm32-wasip2 --target-dir "$out/target" \
    --manifest-path "$here/wasmcloud/Cargo.toml"
cp "$out/target/wasm32-wasip2/release/wasmcloud.wasm" "$out/wasmcloud.wasm"

python3 -m venv "$out/python"
"$out/python/bin/pip" install --quiet componentize-py==0.25.1 spin-sdk==5.0.0
packages=$("$out/python/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONDONTWRITEBYTECODE=1
(cd "$here/python" && "$out/python/bin/componentize-py" -d "$here/../../wit" -w hms:window/window \
    componentize app -o "$out/python.wasm")
(cd "$here/python-spin" && "$out/python/bin/componentize-py" -w spin:up/http-trigger@4.1.0 \
    componentize -p . -p "$packages" app -o "$out/python-spin.wasm")

# The texts of WASI 0.2.6 come with Spin's SDK.
npm install --silent --prefix "$out/js" @bytecodealliance/jco@1.25.2
rm -rf "$out/js/wit"
cp -r "$here/javascript/wit" "$out/js/wit"
mkdir "$out/js/wit/deps"
for package in http cli clocks filesystem io random sockets; do
    cp -r "$packages/spin_sdk/wit/deps/$package@0.2.6" "$out/js/wit/deps/"
done
cp -r "$here/../../wit/deps/keyvalue" "$out/js/wit/deps/"
cp "$here/javascript/app.js" "$out/js/app.js"
(cd "$out/js" && npx jco componentize app.js --wit wit --world-name window -d fetch-event \
    -o "$out/javascript.wasm")
ls -l "$out"/*.wasm
