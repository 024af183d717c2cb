"""Changes of several keys, and events, that are committed together or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import _host
from .event import Event, ReceivedEvent
from .ids import now_ms
from .problem import Problem
from .store import UPDATE_TRIES, Store, StoreError, decode, encode

T = TypeVar("T")

MAX_EVENTS = 256
"""Events of one transaction."""

NEVER = "0"
"""A version that no key has: a check of it never holds."""


class TransactionError(Exception):
    """Why nothing was committed; only for ``unknown`` that is not certain.

    ``code`` is for branching: ``outbox-full``, ``event-refused``, ``unknown``, or ``repeated``.
    What the store refuses is a :class:`StoreError`. A window that does not catch it answers with
    the right problem.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code

    def problem(self) -> Problem:
        """What a client is told.

        507 of a full outbox, 503 of an unknown outcome, 409 of a repeated transaction; anything
        else is the window's own fault.
        """
        if self.code == "outbox-full":
            return Problem(507, "outbox-full", "the window's outbox is full")
        if self.code == "unknown":
            print(self, file=sys.stderr)
            detail = "it is not known whether this was done: check before you retry"
            return Problem(503, "outcome-unknown", detail).retry_after(2)
        if self.code == "repeated":
            return Problem(409, "done-before", "this was done before")
        return Problem.internal(self)


@dataclass(frozen=True)
class Committed(Generic[T]):
    """A committed :func:`transaction`."""

    value: T | None
    """What the function returned. None if it was ``repeated``."""

    event_ids: list[str]
    """The id of each event, in order, timers included."""

    counters: list[int]
    """The new value of each counter that was incremented, in order."""

    repeated: bool = False
    """It was committed before under the same :meth:`Transaction.once`: nothing was done now."""


def transaction(run: Callable[[Transaction], T]) -> Committed[T]:
    """Runs ``run``, and commits all that it has written and emitted, or nothing.

    What it reads is checked at the commit: if another instance has changed any of it meanwhile, it
    runs again with the newer values, up to 64 times. So it must not have side effects of its own.
    What it raises ends the transaction, and nothing is written.

        def pay(tx: Transaction) -> dict:
            fee = tx.get(fees, id)
            if fee is None:
                raise Problem.not_found()
            fee["paid"] = True
            tx.set(fees, id, fee)
            tx.emit(Event("gov.payment.paid.v1", fee, subject=id))
            return fee

        fee = transaction(pay).value

    It is on disk when this returns. A transaction reads at most 256 keys, emits at most 256 events,
    makes at most 1,024 changes, and writes at most 16 MiB.
    """
    contended = ""
    for _ in range(UPDATE_TRIES):
        tx = Transaction()
        try:
            value = run(tx)
        except Exception:
            # It may have seen its own effect, or a mixture of two states.
            repeated, contended_at = tx._was_misled()
            if repeated:
                return Committed(None, [], [], True)
            if contended_at is None:
                raise
            contended = contended_at
            continue
        if tx._only_reads() and len(tx._seen) < 2:
            return Committed(value, [], [])
        done, contended_at = tx._commit(tx._whole())
        if done is not None:
            result = None if done.repeated else value
            return Committed(result, done.event_ids, done.counters, done.repeated)
        contended = contended_at or ""
    raise StoreError("contended", f"too many instances change '{contended}' at once")


class Transaction:
    """One try of a :func:`transaction`."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], Any] = {}
        self._changes: list[Any] = []
        self._now: dict[tuple[str, str], bytes | None] = {}
        self._added: dict[tuple[str, str], int] = {}
        self._events: list[Event] = []
        self._cancel: list[str] = []
        self._once: str | None = None

    def get(self, store: Store, key: str, default: Any = None) -> Any:
        """The value at ``key``, as this transaction leaves it so far.

        It is checked at the commit.
        """
        value = self.get_bytes(store, key)
        return default if value is None else decode(key, value)

    def get_bytes(self, store: Store, key: str) -> bytes | None:
        """The bytes at ``key``, as this transaction leaves them so far."""
        at = (store.name, key)
        if at in self._now:
            return self._now[at]
        if at not in self._seen:
            self._seen[at] = _asked(_host.transactions.read, [_place(at)])[0]
        entry = self._seen[at]
        value: bytes | None = None if entry is None else entry.value
        return _sum(key, value, self._added[at]) if at in self._added else value

    def set(self, store: Store, key: str, value: Any) -> None:
        """Sets ``key`` to ``value`` as JSON, whether or not it exists."""
        self.set_bytes(store, key, encode(value))

    def set_bytes(self, store: Store, key: str, value: bytes) -> None:
        """Sets ``key`` to raw bytes."""
        at = (store.name, key)
        self._changes.append(_host.transactions.Change_Set((_place(at), value)))
        self._leaves(at, value)

    def delete(self, store: Store, key: str) -> None:
        """Deletes ``key``, if it exists."""
        at = (store.name, key)
        self._changes.append(_host.transactions.Change_Delete(_place(at)))
        self._leaves(at, None)

    def increment(self, store: Store, key: str, by: int = 1) -> None:
        """Adds ``by`` to the number at ``key``, which is 0 if missing.

        The sum is in ``counters`` of the result. Instances that only increment do not conflict;
        those that read the number as well do.
        """
        at = (store.name, key)
        self._changes.append(_host.transactions.Change_Add((_place(at), by)))
        if at in self._now:
            self._now[at] = _sum(key, self._now[at], by)
        else:
            self._added[at] = self._added.get(at, 0) + by

    def once(self, key: str | ReceivedEvent) -> None:
        """Commits this once for ``key``: if it was committed before, nothing is done.

        ``tx.once(event)`` makes the effect of an event that is delivered twice the effect of one.
        The host remembers a key for 30 days at least.
        """
        text = key.once_key if isinstance(key, ReceivedEvent) else key
        if self._once not in (None, text):
            raise StoreError("invalid", "a transaction has one 'once' key")
        self._once = text

    def emit(self, event: Event) -> None:
        """Emits ``event`` with the commit: at most 256 of them."""
        if len(self._events) >= MAX_EVENTS:
            raise StoreError("invalid", "a transaction emits at most 256 events")
        self._events.append(event)

    def timer(self, type: str, subject: str, delay: float, data: Any = None) -> None:
        """Sets a timer: an event that comes after ``delay`` seconds.

        This window itself or another can subscribe to it. A timer of the same type and subject that
        still waits is replaced.
        """
        due = now_ms() + int(delay * 1000)
        name = _timer(type, subject)
        self.emit(Event(type, data, subject=subject or None, not_before_ms=due, name=name))

    def cancel(self, type: str, subject: str) -> None:
        """Cancels the timer of that type and subject, if it waits."""
        self._cancel.append(_timer(type, subject))

    def _leaves(self, at: tuple[str, str], value: bytes | None) -> None:
        self._now[at] = value
        self._added.pop(at, None)

    def _only_reads(self) -> bool:
        """Whether a commit would do nothing that others can see."""
        return not (self._changes or self._events or self._cancel or self._once)

    def _checks(self) -> list[Any]:
        host = _host.transactions
        return [
            host.Check(_place(at), None if entry is None else entry.version)
            for at, entry in self._seen.items()
        ]

    def _whole(self) -> Any:
        return _host.transactions.Transaction(
            self._checks(),
            self._changes,
            [_event(event) for event in self._events],
            self._cancel,
            self._once,
        )

    def _commit(self, whole: Any) -> tuple[Any, str | None]:
        """What was committed, or the key at which somebody was faster."""
        host = _host.transactions
        try:
            return host.commit(whole), None
        except _host.Err as error:
            reason = error.value
        if isinstance(reason, host.Error_Unknown) and self._once is not None:
            # The host knows by its 'once' whether it is there, if its disk has recovered.
            try:
                return host.commit(whole), None
            except _host.Err:
                pass
        if isinstance(reason, host.Error_Conflict):
            return None, reason.value[0].key if reason.value else ""
        raise _failure(reason)

    def _was_misled(self) -> tuple[bool, str | None]:
        """Whether this was done before; or the key whose value is of another moment."""
        if self._once is None and len(self._seen) < 2:
            return False, None
        host = _host.transactions
        # So that nothing can be committed.
        never = host.Check(host.Place("", NEVER), NEVER)
        asked = host.Transaction([*self._checks(), never], [], [], [], self._once)
        try:
            return bool(host.commit(asked).repeated), None
        except _host.Err as error:
            reason = error.value
        # More than the one that never holds.
        if isinstance(reason, host.Error_Conflict) and self._seen and len(reason.value) > 1:
            return False, reason.value[0].key
        return False, None


def _timer(type: str, subject: str) -> str:
    """The host's name of a timer."""
    if "/" in type:
        text = f"type: '{type}' is the name of a timer, which has no slash"
        raise TransactionError("event-refused", text)
    return f"{type}/{subject}"


def _sum(key: str, value: bytes | None, by: int) -> bytes:
    """What a counter is after ``by`` was added."""
    try:
        return str(int(value or b"0") + by).encode()
    except ValueError:
        raise StoreError("invalid", f"the value of '{key}' is not a number") from None


def _place(at: tuple[str, str]) -> Any:
    return _host.transactions.Place(*at)


def _event(event: Event) -> Any:
    content_type, data = event.payload()
    return _host.transactions.Event(
        event.type,
        event.subject,
        event.partition_key,
        content_type,
        data,
        list(event.attributes.items()),
        event.not_before_ms,
        event.name,
    )


def _asked(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except _host.Err as error:
        raise _failure(error.value) from None


def _failure(error: Any) -> Exception:
    host, value = _host.transactions, error.value
    match error:
        case host.Error_OutboxFull():
            return TransactionError("outbox-full", f"the outbox: {value}")
        case host.Error_EventRefused():
            return TransactionError("event-refused", f"the event: {value}")
        case host.Error_Unknown():
            return TransactionError("unknown", f"the store: {value}")
        case host.Error_NotANumber():
            text = f"the value of '{value.key}' is not a number of 64 bits, or would not be one"
            return StoreError("invalid", text)
        case host.Error_TooLarge():
            return StoreError("invalid", value)
        case host.Error_StoreFull():
            return StoreError("store-full", value)
        case host.Error_Conflict():
            return StoreError("contended", "too many instances change it at once")
        case _:
            return StoreError.told(value)
