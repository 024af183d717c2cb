"""The window's store: values are JSON, or bytes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import _host
from .paging import Page, page
from .problem import Problem

__all__ = ["Page", "Store", "StoreError"]

UPDATE_TRIES = 64
"""How often :meth:`Store.update` and a transaction try.

Each failure means that another instance has succeeded, so this many in a row is a crowd at one key.
"""


class StoreError(Exception):
    """Why a store operation failed.

    ``code`` is for branching: ``store-full``, ``store-unavailable``, ``contended``, ``invalid``
    (a rule of the store was violated, and nothing was done), ``invalid-cursor``, or ``other``. A
    window that does not catch it answers with the right problem.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"the store: {text}")
        self.code = code

    @classmethod
    def told(cls, text: str) -> StoreError:
        """The host's text begins with a code."""
        code = text.split(":", 1)[0]
        known = ("store-full", "store-unavailable", "invalid", "invalid-cursor")
        return cls(code if code in known else "other", text)

    def problem(self) -> Problem:
        """What a client is told.

        507 of a full store, 503 of an unavailable or contended one, 400 of a bad cursor; anything
        else is the window's own fault.
        """
        if self.code == "store-full":
            return Problem(507, "store-full", "the window's store is full")
        if self.code in ("store-unavailable", "contended"):
            print(self, file=sys.stderr)
            detail = "the window's store is unavailable; retry shortly"
            return Problem(503, "store-unavailable", detail).retry_after(2)
        if self.code == "invalid-cursor":
            return Problem.bad_request("invalid cursor: use the 'next' of a listing")
        return Problem.internal(self)


def encode(value: Any) -> bytes:
    """``value`` as it is stored."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def decode(key: str, value: bytes | None) -> Any:
    """What was stored at ``key``."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError as error:
        raise StoreError("other", f"the value of '{key}' is not JSON: {error}") from error


def asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """The answer of the host, its errors as a :class:`StoreError`."""
    try:
        return call(*arguments)
    except _host.Err as error:
        raise failure(error.value) from None


def failure(error: Any) -> StoreError:
    """The standard has one case for all errors; the text says more."""
    text = getattr(error, "value", None)
    if isinstance(text, str):
        return StoreError.told(text)
    return StoreError("other", type(error).__name__)


class Store:
    """A named part of this window's store. No other window reaches it, whatever names it uses.

    A part need not be created. Use as many as you like, for instance one per user: keys are listed
    by part. A write is on disk when it returns. Values have up to 4 MiB, a batch up to 16 MiB and
    1,024 keys; a key is any text of 1 byte to 1 KiB.

        fees = Store("fees")
        fees.set("passport", 110)
        fee = fees.get("passport")
    """

    def __init__(self, name: str) -> None:
        """Opens the part with this name: any text of up to 512 bytes."""
        self.name = name
        self._bucket = asked(_host.store.open, name)

    def get(self, key: str, default: Any = None) -> Any:
        """The value at ``key``, or ``default`` if there is none."""
        value = self.get_bytes(key)
        return default if value is None else decode(key, value)

    def get_many(self, keys: Sequence[str]) -> list[Any]:
        """The values at ``keys``, in their order, from one call. None where there is none."""
        found = asked(_host.batch.get_many, self._bucket, list(keys))
        return [decode(key, value) for key, value in found]

    def set(self, key: str, value: Any) -> None:
        """Sets ``key`` to ``value`` as JSON, whether or not it existed."""
        self.set_bytes(key, encode(value))

    def set_many(self, values: dict[str, Any]) -> None:
        """Sets several keys, all or none."""
        pairs = [(key, encode(value)) for key, value in values.items()]
        asked(_host.batch.set_many, self._bucket, pairs)

    def get_bytes(self, key: str) -> bytes | None:
        """The bytes at ``key``, if there are any."""
        value: bytes | None = asked(self._bucket.get, key)
        return value

    def set_bytes(self, key: str, value: bytes) -> None:
        """Sets ``key`` to raw bytes."""
        asked(self._bucket.set, key, value)

    def delete(self, key: str) -> None:
        """Removes ``key``, if it exists."""
        asked(self._bucket.delete, key)

    def delete_many(self, keys: Sequence[str]) -> None:
        """Removes those of ``keys`` that exist, all or none."""
        asked(_host.batch.delete_many, self._bucket, list(keys))

    def __contains__(self, key: str) -> bool:
        """Whether ``key`` exists."""
        return bool(asked(self._bucket.exists, key))

    def page(self, cursor: str | None = None, limit: int = 50) -> Page:
        """Up to ``limit`` keys, from the start or from the ``next`` of the previous page.

        In the order of their bytes. Keys added or removed between two pages do not affect the
        others. A cursor that no page has given is a :class:`StoreError`, which is a 400.
        """

        def fetch(host_cursor: str | None) -> tuple[list[str], str | None]:
            found = asked(self._bucket.list_keys, host_cursor)
            return found.keys, found.cursor

        try:
            return page(cursor, limit, fetch)
        except ValueError as error:
            raise StoreError("invalid-cursor", str(error)) from None

    def keys(self) -> Iterator[str]:
        """All keys, in the order of their bytes, a page of the host at a time."""
        cursor: str | None = None
        while True:
            found = asked(self._bucket.list_keys, cursor)
            yield from found.keys
            cursor = found.cursor
            if cursor is None:
                return

    def increment(self, key: str, by: int = 1) -> int:
        """Adds ``by`` to the number at ``key``, which is 0 if missing, and returns the sum.

        Calls of several instances at once all count.
        """
        return int(asked(_host.atomics.increment, self._bucket, key, by))

    def update(self, key: str, change: Callable[[Any], Any]) -> Any:
        """Replaces the value at ``key`` with what ``change`` makes of it, and returns that.

        ``change`` gets None if there is no value. If another instance was faster, it is called
        again with the newer value, so it must not have side effects. What it raises comes out, and
        nothing is written.

            queue.update("waiting", lambda old: [*(old or []), "alice"])
        """
        cas = asked(_host.atomics.Cas.new, self._bucket, key)
        for _ in range(UPDATE_TRIES):
            new = change(decode(key, asked(cas.current)))
            try:
                _host.atomics.swap(cas, encode(new))
                return new
            except _host.Err as error:
                if not isinstance(error.value, _host.atomics.CasError_CasFailed):
                    raise failure(error.value.value) from None
                cas = error.value.value
        raise StoreError("contended", f"too many instances change '{key}' at once")

    def compare_and_set(self, key: str, old: Any, new: Any) -> bool:
        """Sets ``key`` to ``new`` if its value is ``old`` (None: there is none).

        Whether it did.
        """
        cas = asked(_host.atomics.Cas.new, self._bucket, key)
        if decode(key, asked(cas.current)) != old:
            return False
        try:
            _host.atomics.swap(cas, encode(new))
            return True
        except _host.Err as error:
            if isinstance(error.value, _host.atomics.CasError_CasFailed):
                return False
            raise failure(error.value.value) from None
