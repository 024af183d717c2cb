"""Events: those that a transaction emits, and those that the host delivers."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from .headers import Headers
from .problem import Problem

DELIVERY = "x-hms-delivery"
"""The header by which the host marks a delivery. No client can send it."""


@dataclass(frozen=True)
class Event:
    """Something that has happened, for whoever subscribes to it: a CloudEvent.

    A transaction emits it, together with what it writes. The host adds ``id``, ``source``,
    ``time``, ``sequence`` and ``traceparent``.

        Event("gov.payment.paid.v1", {"amount": 110}, subject="payment-7")
    """

    type: str
    """What has happened. End it with a version: subscribers depend on the shape of the data."""

    data: Any = None
    """Up to 64 KiB: bytes as they are, None for none, anything else as JSON."""

    subject: str | None = None
    """What it is about. Events of the same subject are delivered in order."""

    partition_key: str | None = None
    """What its order is by, in place of the subject."""

    content_type: str | None = None
    """The media type of the data; ``application/json`` if nothing is said."""

    attributes: dict[str, str] = field(default_factory=dict)
    """More attributes, which filters can use: names of 1 to 20 of ``a-z`` and ``0-9``."""

    not_before_ms: int | None = None
    """Not before this time, in milliseconds since 1970."""

    name: str | None = None
    """By which it is replaced and cancelled while it waits: see :meth:`Transaction.timer`."""

    def payload(self) -> tuple[str, bytes]:
        """The media type and the bytes of the data."""
        if self.data is None:
            return self.content_type or "", b""
        if isinstance(self.data, bytes):
            return self.content_type or "application/octet-stream", self.data
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":"))
        return self.content_type or "application/json", data.encode()


@dataclass(frozen=True)
class ReceivedEvent:
    """An event that the host has delivered to this window: see :meth:`Request.event`."""

    attributes: dict[str, str]
    """All attributes, by their names in CloudEvents."""

    data: bytes
    """The data as they are."""

    content_type: str | None
    """The media type of the data, if there are any."""

    subscription: str
    """The subscription of this window by which it came."""

    attempt: int = 1
    """How often it was tried, this time included."""

    replay_round: int = 0
    """0, or the number of the replay that an operator has started."""

    @property
    def id(self) -> str:
        """Unlike that of any other event of the same source."""
        return self.attributes["id"]

    @property
    def source(self) -> str:
        """Who has emitted it: ``urn:hms:window:NAME``. The host vouches for it."""
        return self.attributes["source"]

    @property
    def type(self) -> str:
        """Such as ``gov.payment.paid.v1``."""
        return self.attributes["type"]

    @property
    def subject(self) -> str | None:
        """What it is about, if said."""
        return self.attributes.get("subject")

    @property
    def time(self) -> str | None:
        """When it was emitted (RFC 3339); of a timer, when it was due."""
        return self.attributes.get("time")

    @property
    def sequence(self) -> int:
        """Its place among the events of its source: 1, 2, 3, without gaps. 0 if it has none."""
        sequence = self.attributes.get("sequence", "")
        return int(sequence) if sequence.isascii() and sequence.isdigit() else 0

    @property
    def once_key(self) -> str:
        """Under which :meth:`Transaction.once` handles it once.

        Source and id, and the round, so that a replay is handled again; the subscription as well,
        because two subscriptions of one window may each do something with the same event.
        """
        return f"event/{self.subscription}/{self.replay_round}/{self.source}/{self.id}"

    def json(self) -> Any:
        """The data as JSON.

        422 if they are not JSON: the event is parked, since another try would fare no better.
        """
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError) as error:
            detail = f"the data of the event are not as expected: {error}"
            raise Problem.reject(detail) from None


def received(headers: Headers, body: bytes) -> ReceivedEvent:
    """The event in a request of the host, in binary or in structured mode."""
    subscription, attempt, replay_round = _delivery(headers)
    content_type = headers.get("content-type")
    essence = (content_type or "").split(";")[0].strip().lower()
    if essence == "application/cloudevents+json":
        attributes, content_type, data = _structured(body)
    else:
        attributes, data = _binary(headers), body
    for name in ("id", "source", "type", "specversion"):
        if not attributes.get(name):
            raise Problem.bad_request(f"this is not a CloudEvent: '{name}' is missing")
    if attributes["specversion"] != "1.0":
        version = attributes["specversion"]
        raise Problem.bad_request(f"CloudEvents '{version}' is not known here: only 1.0 is")
    return ReceivedEvent(attributes, data, content_type, subscription, attempt, replay_round)


def _delivery(headers: Headers) -> tuple[str, int, int]:
    """`NAME-OF-SUBSCRIPTION; attempt=N; round=R`; a later host may say more."""
    mark = headers.get(DELIVERY)
    if mark is None:
        raise Problem(
            403,
            "not-a-delivery",
            "only the host delivers events here: subscribe to them instead",
        )
    name, *parts = (part.strip() for part in mark.split(";"))
    said = dict(part.split("=", 1) for part in parts if "=" in part)
    numbers = [said.get("attempt", "1"), said.get("round", "0")]
    if not name or not all(number.isascii() and number.isdigit() for number in numbers):
        raise Problem.bad_request(f"the header '{DELIVERY}' is malformed")
    return name, int(numbers[0]), int(numbers[1])


def _binary(headers: Headers) -> dict[str, str]:
    """Attributes in headers, data in the body."""
    attributes = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            try:
                attributes[name.removeprefix("ce-")] = unquote_to_bytes(value).decode()
            except UnicodeDecodeError:
                raise Problem.bad_request(f"the header '{name}' is not UTF-8") from None
    return attributes


def _structured(body: bytes) -> tuple[dict[str, str], str | None, bytes]:
    """All in a JSON object."""
    malformed = "the event is malformed: "
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise Problem.bad_request(malformed + "it is not a JSON object")
    members = {name: value for name, value in members.items() if value is not None}
    value, encoded = members.pop("data", None), members.pop("data_base64", None)
    content_type = members.pop("datacontenttype", None)
    attributes = {}
    for name, attribute in members.items():
        if isinstance(attribute, bool):
            attributes[name] = "true" if attribute else "false"
        elif isinstance(attribute, (str, int)):
            attributes[name] = str(attribute)
        else:
            raise Problem.bad_request(malformed + f"'{name}' is not a valid attribute name")
    if encoded is not None:
        try:
            return attributes, content_type, base64.b64decode(encoded, validate=True)
        except (ValueError, TypeError):
            raise Problem.bad_request(malformed + "'data_base64' is not base64") from None
    if value is None:
        return attributes, content_type, b""
    is_json = content_type is None or content_type.split(";")[0].strip().endswith("json")
    if isinstance(value, str) and not is_json:
        return attributes, content_type, value.encode()
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return attributes, content_type or "application/json", data
