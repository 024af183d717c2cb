"""Listing keys a few at a time.

The host chooses the size of its pages and hands out cursors that say nothing to us; what a client
asks for is smaller. So our cursor is the host's cursor of a page and the last key taken from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Fetch = Callable[[str | None], tuple[list[str], str | None]]


@dataclass(frozen=True)
class Page:
    """A few keys, in the order of their bytes."""

    keys: list[str]
    """The keys."""

    next: str | None
    """What to hand in for the keys after these; None when these are the last. It is opaque."""


def page(cursor: str | None, limit: int, fetch: Fetch) -> Page:
    """Up to ``limit`` keys after ``cursor``, from pages that ``fetch`` gives."""
    last, host = (None, None) if cursor is None else _decode(cursor)
    keys: list[str] = []
    while True:
        found, following = fetch(host)
        for key in found:
            if last is not None and key.encode() <= last:
                continue
            if len(keys) >= max(limit, 1):
                return Page(keys, _encode(keys[-1], host))
            keys.append(key)
        if following is None:
            return Page(keys, None)
        host = following


def _encode(last: str, host: str | None) -> str:
    """`LENGTH.KEY` and the host's cursor; the length is in bytes, as in the other languages."""
    return f"{len(last.encode())}.{last}{host or ''}"


def _decode(cursor: str) -> tuple[bytes, str | None]:
    try:
        length, rest = cursor.split(".", 1)
        if not (length.isascii() and length.isdigit()):
            raise ValueError
        size, encoded = int(length), rest.encode()
        if size > len(encoded):
            raise ValueError
        last, host = encoded[:size], encoded[size:].decode()
        last.decode()
    except ValueError:
        raise ValueError("invalid cursor: use the 'next' of a listing") from None
    return last, host or None
