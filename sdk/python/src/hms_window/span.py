"""Parts of a window's own work, in the traces of its requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import _host


@contextmanager
def span(name: str) -> Iterator[None]:
    """A part of the window's work, in the trace of its request.

        with span("exchange rates"):
            rates = fetch(...)

    ``hms requests`` shows it with its time, and it is exported. It has failed if an exception
    leaves it. What the window asks its host for meanwhile is below it. The name says what is done
    and not for whom: at most 256 bytes of it are kept. A component that uses it runs on no other
    host. Outside of a window it does nothing.
    """
    spans = _host.spans
    part = spans.begin(name) if spans else 0
    failed = True
    try:
        yield
        failed = False
    finally:
        if part > 0:
            spans.end(part, failed)
