#!/bin/sh
# Makes bindings/ of wit/, after a change there. It needs python3 and wit-bindgen:
#
#     cargo install wit-bindgen-cli --version 0.63.0 --locked --no-default-features --features c
set -e
cd "$(dirname "$0")"
texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT
cp -r wit/. "$texts"
for text in keyvalue config.wit logging.wit hms-store.wit; do cp -r "../../wit/deps/$text" "$texts/deps/"; done
wit-bindgen c "$texts" --world window --out-dir bindings
# The component's type, as text: a binary file would not fit into a program as `hms new` has it.
python3 - bindings/window_component_type.o bindings/window_component_type.s <<'END'
import sys

def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at

data, at = open(sys.argv[1], "rb").read(), 8
while True:
    kind = data[at]
    size, start = number(data, at + 1)
    at = start + size
    length, name = number(data, start)
    if kind == 0 and data[name : name + length].startswith(b"component-type"):
        content = data[name + length : at]
        break
lines = ["# Made by bindings.sh: the type of the component.",
         '.section ".custom_section.component-type","",@']
for i in range(0, len(content), 20):
    lines.append(".byte " + ",".join(str(byte) for byte in content[i : i + 20]))
lines += ['.section .text.component_type,"",@',
          ".globl __component_type_object_force_link_window",
          ".type __component_type_object_force_link_window,@function",
          "__component_type_object_force_link_window:",
          ".functype __component_type_object_force_link_window () -> ()",
          "end_function"]
open(sys.argv[2], "w").write("\n".join(lines) + "\n")
END
rm bindings/window_component_type.o
