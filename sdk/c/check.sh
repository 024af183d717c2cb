#!/bin/sh
# Runs the unit tests of the SDK, tests the windows of tests/, and makes, builds and tests one of
# every template in C, from an empty folder:
#
#     sdk/c/check.sh [HMS]       HMS is the program, if it is not on the PATH
#
# It needs what README.md says: zig (or ZIG="python3 -m ziglang"), make, and Node with npx.
set -eu
hms=$(command -v "${1:-hms}")
hms=$(realpath "$hms")
echo "== unit tests"
"$(dirname "$0")"/tests/unit/run.sh
for window in "$(dirname "$0")"/tests/*/window.toml; do
    echo "== $window"
    "$hms" test "$(dirname "$window")"
done
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
all=$("$hms" new --list | awk '$0 ~ / c( |$)/ { print $1 }')
test -n "$all" || { echo "$hms lists no template in C" >&2; exit 1; }
for template in $all; do
    echo "== $template"
    "$hms" new "my-$template" --lang c --template "$template"
    "$hms" build --release "my-$template"
    "$hms" test "my-$template"
done
