#!/bin/sh
# Makes bindings/ of wit/, after a change there. It needs python3 and wit-bindgen:
#
#     cargo install wit-bindgen-cli --version 0.63.0 --locked --no-default-features --features c
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r wit "$work/wit"
deps=../../wit/deps
for text in keyvalue config.wit logging.wit hms-store.wit hms-telemetry.wit \
    cli.wit clocks.wit filesystem.wit random.wit sockets.wit; do
    cp -r "$deps/$text" "$work/wit/deps/"
done
cp "$deps/http.wit" "$work/wit/deps/http-0.3.wit"
rm -f bindings/*
bindings() { # WORLD OUT OPTION…
    world=$1 out=$2
    shift 2
    wit-bindgen c "$work/wit" --world "$world" --out-dir "$out" "$@"
}
# Names without versions: those of 0.2 as they are, and those of 0.3 begin with `next`.
bindings window bindings --rename wasi:http/types@0.2.0=wasi_http_types \
    --rename wasi:http/outgoing-handler@0.2.0=wasi_http_outgoing_handler
bindings served "$work"
# The next handler is called as a plain function: nothing else is done meanwhile.
bindings middleware bindings --sync import:wasi:http/handler@0.3.0#handle \
    --rename wasi:http/types@0.3.0=next --rename wasi:http/handler@0.3.0=next_handler
mv "$work/served_component_type.o" bindings/
# The component's types, as texts: binary files would not fit into a program as `hms new` has it.
python3 - window served middleware <<'PYTHON'
import os, sys

def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at

def content(data):
    at = 8
    while True:
        kind = data[at]
        size, start = number(data, at + 1)
        at = start + size
        length, name = number(data, start)
        if kind == 0 and data[name : name + length].startswith(b"component-type"):
            return data[name + length : at]

for world in sys.argv[1:]:
    made = f"bindings/{world}_component_type"
    bytes = content(open(f"{made}.o", "rb").read())
    os.remove(f"{made}.o")
    # Each has a section of its own: the linker would join those of one name.
    lines = [f"# Made by bindings.sh: the part '{world}' of the component's type.",
             f'.section ".custom_section.component-type:{world}","",@']
    for i in range(0, len(bytes), 20):
        lines.append(".byte " + ",".join(str(byte) for byte in bytes[i : i + 20]))
    symbol = f"__component_type_object_force_link_{world}"
    lines += [f'.section .text.component_type_{world},"",@',
              f".globl {symbol}",
              f".type {symbol},@function",
              f"{symbol}:",
              f".functype {symbol} () -> ()",
              "end_function"]
    open(f"{made}.s", "w").write("\n".join(lines) + "\n")
PYTHON
