"""What the operator's file ``windows/NAME.yaml`` configures and reveals."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from . import _host


def config(name: str) -> str | None:
    """A value of ``config`` in this window's ``windows/NAME.yaml``, as it is now.

    A changed file holds at once. None where there is none.
    """
    try:
        value: str | None = _host.settings.get(name)
        return value
    except _host.Err as error:
        cause = error.value.value
        print(f"the configuration '{name}' cannot be read: {cause}", file=sys.stderr)
        return None


@dataclass(frozen=True)
class Secret:
    """A secret. It does not show itself in a log by accident."""

    _value: str = field(repr=False)

    def expose(self) -> str:
        """The value, or the text ``hms-secret:NAME`` that the host replaces by it."""
        return self._value

    def __str__(self) -> str:
        return "[secret]"


def secret(name: str) -> Secret | None:
    """A secret of this window's ``windows/NAME.yaml``, as it is now.

    First see whether you need it: with ``inject`` in the file the host itself sets a header that
    has the secret, and this window cannot lose it. None for any other secret.
    """
    value = config(name)
    return None if value is None else Secret(value)
