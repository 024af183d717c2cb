"""`python -m hms_window build app.py -o dist/NAME.wasm`: a component of a window in Python."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from .embed import files as files_of_site

PACKAGE = Path(__file__).parent
WORLD = """\
package hms:window@0.1.0;

world used {{
{includes}}}
"""
"""What the component imports and exports, of the worlds beside it."""

WORLDS = {"transaction": "events", "span": "spans"}
"""What the component imports beside, by what it uses."""

DOES = {
    "transaction": "emits events",
    "span": "names parts of its work",
    "middleware": "is a middleware",
}
"""What a component does by what it uses."""

SKIPPED = {"node_modules", "site-packages", "dist", "build", "tests", "vendor", "__pycache__"}
"""Folders that hold no code of the window."""

ENTRY = """\
import gc
import hms_window.serve
import {module}
from wit_world import exports

class Handler(hms_window.serve.Handler, exports.Handler):
    pass

hms_window.serve.prepare()
# What is there now is there to stay: looking through it would only copy its memory.
gc.collect()
gc.freeze()
"""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="hms-window", description="Make a component of a window in Python."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="make the component")
    build.add_argument("app", type=Path, help="the file with the function that has @window")
    build.add_argument("-o", "--output", type=Path, required=True, help="the component: NAME.wasm")
    build.add_argument(
        "-p",
        "--path",
        type=Path,
        action="append",
        default=[],
        help="one more folder of modules, beside that of the file and the installed packages",
    )
    build.add_argument(
        "--events",
        action=argparse.BooleanOptionalAction,
        help="whether it uses transactions, and may thus emit events; found out if not said",
    )
    build.add_argument(
        "--site",
        action="append",
        default=[],
        help="a folder of files to put into the component, below that of the file: see Site",
    )
    build.add_argument(
        "--middleware",
        action=argparse.BooleanOptionalAction,
        help="whether it is a middleware; found out if not said",
    )
    chosen = parser.parse_args(arguments)
    try:
        component(
            chosen.app,
            chosen.output,
            chosen.path,
            chosen.events,
            chosen.middleware,
            chosen.site,
        )
    except BuildError as error:
        sys.exit(f"{chosen.app} was not built: {error}")


class BuildError(Exception):
    """Why there is no component, and what to do."""


def component(
    app: Path,
    output: Path,
    more: list[Path],
    events: bool | None = None,
    between: bool | None = None,
    sites: Iterable[str] = (),
) -> None:
    """Makes the component `output` of the module `app`."""
    if not app.is_file():
        raise BuildError(f"there is no file {app}")
    root, module = _module(app)
    if not all(part.isidentifier() for part in module.split(".")):
        raise BuildError(f"'{module}' is not a module name: use letters, digits and '_'")
    found = {name for file in _sources(root) for name in used(file)}
    uses = {
        "transaction": "transaction" in found if events is None else events,
        "span": "span" in found,
        "middleware": "middleware" in found if between is None else between,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        entry = Path(folder, "hms_window_entry.py")
        entry.write_text(ENTRY.format(module=module), encoding="utf-8")
        if sites:
            try:
                embedded = {site: files_of_site(Path(root, site)) for site in sites}
            except ValueError as error:
                raise BuildError(str(error)) from None
            module_of_sites = f"SITES = {embedded!r}\n"
            Path(folder, "hms_window_sites.py").write_text(module_of_sites, encoding="utf-8")
        made = output.with_name(output.name + ".part")
        wit = Path(folder, "wit")
        shutil.copytree(PACKAGE / "wit", wit, ignore=shutil.ignore_patterns("foreign", "*.md"))
        worlds = ["middleware" if uses["middleware"] else "window"]
        worlds += [world for use, world in WORLDS.items() if uses[use]]
        includes = "".join(f"  include {world};\n" for world in worlds)
        Path(wit, "used.wit").write_text(WORLD.format(includes=includes), encoding="utf-8")
        command = [sys.executable, "-c", "import componentize_py; componentize_py.script()"]
        command += ["-q", "-d", str(wit), "-w", "hms:window/used"]
        command += ["componentize", "hms_window_entry", "-o", str(made)]
        for path in [Path(folder), root, *more, PACKAGE.parent, *_installed()]:
            command += ["-p", str(path)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "RUST_BACKTRACE": "0"}
        environment.pop("VIRTUAL_ENV", None)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(reason(done.stderr, module))
        with made.open("ab") as file:
            file.write(sdk_section())
        made.replace(output)
    size = f"{output.stat().st_size / 1e6:.1f} MB"
    print(", ".join([f"{output}: {size}", *(does for use, does in DOES.items() if uses[use])]))


def sdk_section() -> bytes:
    """What the component is written with, for `hms inspect`: a custom section."""
    try:
        version = metadata.version("hms-window")
    except metadata.PackageNotFoundError:
        version = ""
    name, text = b"hms-sdk", f"hms-window (Python) {version}".strip().encode()
    content = bytes([len(name)]) + name + text
    return bytes([0, len(content)]) + content


def reason(stderr: str, module: str) -> str:
    """The part of componentize-py's output that is about the author's code."""
    if "No module named 'componentize_py'" in stderr:
        return "componentize-py is missing: pip install componentize-py==0.25.1"
    text = stderr.split("\n\nCaused by:")[0].split("\n\nStack backtrace:")[0]
    text = text.rsplit("AssertionError: ", 1)[-1].strip()
    # Folders have numbers there: `/1/app.py`.
    text = re.sub(r'File "/\d+/', 'File "', text).replace(f"    import {module}\n", "", 1)
    lines = [line for line in text.splitlines() if "hms_window_entry" not in line]
    return "\n".join(lines) or "componentize-py failed and did not say why"


def _module(app: Path) -> tuple[Path, str]:
    """The folder from which the module is imported, and its name."""
    folder, parts = app.resolve().parent, [app.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _sources(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name for name in folders
            if name not in SKIPPED and not name.startswith(".")
            and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def used(file: Path) -> set[str]:
    """What a module uses of this package that the component imports only then."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    imported: set[str] = set()
    named: set[str] = set()
    whole = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hms_window":
            imported.update(name.name for name in node.names)
        elif isinstance(node, ast.Import):
            whole = whole or any(name.name.split(".")[0] == "hms_window" for name in node.names)
        elif isinstance(node, ast.Name):
            named.add(node.id)
        elif isinstance(node, ast.Attribute):
            named.add(node.attr)
    if whole or "*" in imported:
        # A window that may emit events is never made without saying so.
        imported |= named | {"transaction"}
    return imported & DOES.keys()


def _installed() -> list[Path]:
    """Where packages of this Python are."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return [Path(folder) for folder in folders if Path(folder).is_dir()]
