"""Ids that sort by time, the clock, and a pause."""

from __future__ import annotations

import time
import uuid

from . import _host


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A new UUID, version 7 (RFC 9562).

    Its text sorts by the millisecond of its creation, so a store with such keys lists them in
    their order of time.
    """
    bits = int.from_bytes(_host.random.get_random_bytes(10), "big")
    value = (now_ms() & (2**48 - 1)) << 80
    value |= 0x7 << 76 | (bits >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | bits & (2**62 - 1)
    return str(uuid.UUID(int=value))


async def sleep(seconds: float) -> None:
    """Waits. This time counts as the instance's wall time."""
    await _host.monotonic.wait_for(int(seconds * 1_000_000_000))
