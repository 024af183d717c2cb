"""Headers of a request or a response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Union

HeadersInput = Union["Headers", Mapping[str, str], Iterable[tuple[str, str]]]
"""What headers can be made of."""


def _pairs(fields: HeadersInput) -> Iterable[tuple[str, str]]:
    return fields.items() if isinstance(fields, (Headers, Mapping)) else fields


class Headers:
    """Header fields, whose names are compared without regard to case.

    A name may have several values: :meth:`get` gives the first, :meth:`get_all` all of them.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: HeadersInput = ()) -> None:
        pairs = fields if isinstance(fields, (list, tuple)) else _pairs(fields)
        self._fields = [(name.lower(), value) for name, value in pairs]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of ``name``, or ``default`` if there is none."""
        name = name.lower()
        return next((value for key, value in self._fields if key == name), default)

    def get_all(self, name: str) -> list[str]:
        """All values of ``name``, in their order."""
        name = name.lower()
        return [value for key, value in self._fields if key == name]

    def set(self, name: str, value: str) -> None:
        """Sets ``name`` to ``value``, in place of what it had."""
        name = name.lower()
        self._fields = [field for field in self._fields if field[0] != name]
        self._fields.append((name, value))

    def append(self, name: str, value: str) -> None:
        """Adds a value to those that ``name`` has."""
        self._fields.append((name.lower(), value))

    def items(self) -> list[tuple[str, str]]:
        """All names and values, in their order."""
        return list(self._fields)

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        self.set(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._fields))

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._fields == other._fields

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"
