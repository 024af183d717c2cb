# mypy: ignore-errors
"""What the host offers, by the bindings that componentize-py generates.

They exist only inside of a component. Outside of one, such as in a unit test, the package can be
imported all the same, and whatever asks the host raises `NoHost`.
"""

from __future__ import annotations

from typing import Any


class NoHost(RuntimeError):
    """The host was asked for something, and there is none."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} works only inside of a window: build it with 'python -m hms_window build', and"
            " test it over HTTP with 'hms test'"
        )


class _Missing:
    """Stands for an import that the component does not have."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise NoHost(self._what)


class _NeverRaised(Exception):
    """Stands for the errors of the bindings where there are none."""

    value: Any = None


bindings: Any
store: Any
atomics: Any
batch: Any
settings: Any
client: Any
types: Any
clock: Any
monotonic: Any
random: Any
spans: Any
transactions: Any
chain: Any
spawn: Any
Ok: Any
Err: Any = _NeverRaised

try:
    import wit_world as bindings
    from componentize_py_async_support import spawn
    from componentize_py_types import Err, Ok
    from wit_world.imports import atomics, batch, client, random
    from wit_world.imports import monotonic_clock as monotonic
    from wit_world.imports import system_clock as clock
    from wit_world.imports import wasi_config_store as settings
    from wit_world.imports import wasi_http_types as types
    from wit_world.imports import wasi_keyvalue_store as store
except ModuleNotFoundError:
    bindings = spawn = Ok = _Missing("this")
    store = atomics = batch = _Missing("the store")
    settings = _Missing("config()")
    client = types = _Missing("fetch()")
    clock = monotonic = random = _Missing("the clock")

try:
    # Only in a window that uses transactions: a component that imports it may emit events.
    from wit_world.imports import transactions
except ImportError:
    transactions = _Missing("transaction()")

try:
    # Only in a middleware.
    from wit_world.imports import handler as chain
except ImportError:
    chain = _Missing("a middleware's next")

try:
    # Only in a window that uses spans: no other host has them.
    from wit_world.imports import spans
except ImportError:
    spans = None
