#!/bin/sh
# Runs the unit tests of the SDK on this machine, with what ZIG names as the compiler (zig).
set -eu
cd "$(dirname "$0")"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
src=../../src
# Functions that ask the host for what host.c does not have are not linked.
${ZIG:-zig} cc -std=c17 -g -O1 -Wall -Wextra -fsanitize=undefined -fsanitize-trap=undefined \
    -ffunction-sections -Wl,--gc-sections -I../../include -I../../json -I../../bindings -I$src \
    *.c $src/memory.c $src/request.c $src/response.c $src/conditional.c $src/ids.c $src/json.c \
    $src/event.c $src/site.c $src/store.c ../../json/yyjson.c -o "$place/unit"
"$place/unit"
