"""A request, as the gateway has checked it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload
from urllib.parse import parse_qsl, unquote

from .conditional import entity_tag, not_modified
from .event import ReceivedEvent, received
from .headers import Headers
from .problem import Problem
from .store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """The caller, as verified by the gateway."""

    user: str
    """Issuer and subject in one name. Compare it as a whole."""

    scopes: frozenset[str]
    """The token's scopes."""

    def has_scope(self, scope: str) -> bool:
        """Whether the token has this scope."""
        return scope in self.scopes

    def store(self, name: str) -> Store:
        """This caller's own part ``name`` of the store.

        Two users never share one. ``name`` has no slash and at most 190 bytes.
        """
        return Store(f"{name}/{self.user}")


@dataclass
class Request:
    """A request: its method, path, query, headers and body."""

    method: str = "GET"
    """GET for a HEAD request as well, because both want the same answer; see ``is_head``."""

    path: str = "/"
    """The raw path, without the query: ``/payments/42``."""

    query: str = ""
    """The raw query, without the question mark."""

    headers: Headers = field(default_factory=Headers)
    """The headers. No client can forge those that begin with ``x-hms-``."""

    body: bytes = b""
    """The body. Empty in a window that streams: see :meth:`chunks`."""

    is_head: bool = False
    """Whether this is a HEAD request: the answer's body will not be sent."""

    authority: str | None = None
    """The host that the client has asked, and its port."""

    _chunks: AsyncIterable[bytes] | None = field(default=None, repr=False)

    @property
    def segments(self) -> list[str]:
        """The segments of the path, percent-decoded, to match on: ``["payments", "42"]``.

        A trailing slash makes an empty last segment: ``/payments/`` is not ``/payments``.
        """
        return [unquote(segment) for segment in self.path.removeprefix("/").split("/")]

    def public_path(self, path: str) -> str:
        """``path`` as the client must write it: with the prefix that the gateway stripped.

        For ``Location`` and for links.
        """
        return (self.header("x-forwarded-prefix") or "") + path

    def header(self, name: str, default: str | None = None) -> str | None:
        """The value of a header, or ``default``; the first if there are several."""
        return self.headers.get(name, default)

    def cookie(self, name: str) -> str | None:
        """The value of a cookie, if there is one."""
        # HTTP/2 may bring them in several fields.
        for field_ in self.headers.get_all("cookie"):
            for pair in field_.split(";"):
                key, is_pair, value = pair.partition("=")
                if is_pair and key.strip() == name:
                    return value.strip()
        return None

    @overload
    def param(self, name: str) -> str | None: ...
    @overload
    def param(self, name: str, kind: Callable[[str], T]) -> T | None: ...
    @overload
    def param(self, name: str, kind: Callable[[str], T], default: T) -> T: ...
    def param(self, name: str, kind: Callable[[str], Any] = str, default: Any = None) -> Any:
        """A query parameter, read by ``kind``, or ``default``; the first if there are several.

        400 if ``kind`` raises ``ValueError``: ``request.param("limit", int, 50)``.
        """
        values = self.params(name, kind)
        return values[0] if values else default

    def params(self, name: str, kind: Callable[[str], T] = str) -> list[T]:  # type: ignore[assignment]
        """All values of a query parameter, in order, each read by ``kind``."""
        pairs = parse_qsl(self.query, keep_blank_values=True)
        try:
            return [kind(value) for key, value in pairs if key == name]
        except ValueError as error:
            why = "it is not a number" if kind in (int, float) else error
            raise Problem.bad_request(f"the parameter '{name}': {why}") from None

    def caller(self) -> Caller:
        """The caller; 401 if the request has none."""
        user = self.header("x-hms-user")
        if not user:
            raise Problem.unauthorized()
        return Caller(user, frozenset((self.header("x-hms-scopes") or "").split()))

    def json(self, kind: type[T] | None = None) -> Any:
        """The body as JSON, whatever its content type; 400 if it is not JSON.

        With ``kind``, such as ``dict``, 400 if it is not one.
        """
        try:
            value = json.loads(self.body)
            # An escape may be half a surrogate pair: nothing could store it or send it.
            if b"\\" in self.body:
                json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise Problem.bad_request(f"the body is not JSON: {error}") from None
        if kind is not None and not isinstance(value, kind):
            names: dict[Any, str] = {dict: "object", list: "array", str: "text"}
            name = names.get(kind, kind.__name__)
            raise Problem.bad_request(f"the body is not a JSON {name}")
        return value

    def text(self) -> str:
        """The body as a text in UTF-8; 400 if it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise Problem.bad_request("the body is not UTF-8") from None

    def not_modified(self, version: str | int | None) -> bool:
        """Holds the conditions of the request (``If-Match``, ``If-None-Match``) against the version
        of what is there now, as in :func:`entity_tag`, or None for nothing.

        True in a GET: answer 304, the client has it. Raises 412 where a condition fails. For a
        change, call it in :meth:`Store.update` or in a transaction.
        """
        tag = None if version is None else entity_tag(version)
        return not_modified(self.method, self.headers, tag)

    def event(self) -> ReceivedEvent:
        """The event of this delivery.

        Answer with 2xx when it is done. The host tries again after 408, 409, 425, 429, 5xx and no
        answer, at the time of :meth:`Problem.retry_after` if there is one; any other 4xx, such as
        :meth:`Problem.reject`, parks the event at once, for a person to look at.

        403 if it is not a delivery of the host: a client has sent it. 400 if it is not a
        CloudEvent.
        """
        return received(self.headers, self.body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, in a window with ``@window(stream=True)``."""
        chunks, self._chunks = self._chunks, None
        if chunks is None:
            if self.body:
                yield self.body
            return
        async for chunk in chunks:
            yield chunk

    def passed_on(self) -> bytes | AsyncIterable[bytes]:
        """The body, to be sent on: as it comes, if nobody has read it."""
        chunks, self._chunks = self._chunks, None
        return self.body if chunks is None else chunks
