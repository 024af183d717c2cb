"""Requests that a window makes: to services, and to other windows."""

from __future__ import annotations

import json as _json
import re
import sys
from collections.abc import AsyncIterable
from typing import Any
from urllib.parse import urlsplit

from . import _host, _wire
from .grant import grant_of, grant_of_window
from .headers import Headers, HeadersInput
from .problem import Problem
from .response import Response


class FetchError(Exception):
    """Why there is no answer. It reads as a sentence that says what to do, for the log.

    ``kind`` is for branching: ``denied`` (the operator has not granted it), ``loop``, ``timeout``,
    ``limit``, ``refused``, ``unavailable``, ``tls``, ``broken``, ``invalid``, or ``other``. A
    window that does not catch it answers with the right problem.
    """

    def __init__(self, target: str, kind: str, text: str, may_have_arrived: bool) -> None:
        super().__init__(f"{target}: {text}")
        self.kind = kind
        self.may_have_arrived = may_have_arrived
        """If not, even a request that must not be done twice can be sent again."""

    def problem(self) -> Problem:
        """What a client is told: nothing of where the call went."""
        if self.kind in ("denied", "invalid"):
            return Problem.internal(self)
        print(self, file=sys.stderr)
        if self.kind == "timeout":
            detail = "a service that this needs did not answer in time; retry later"
            return Problem(504, "service-timeout", detail)
        if self.kind == "limit":
            detail = "too much is going on; retry shortly"
            return Problem(503, "service-limit", detail).retry_after(2)
        if self.kind == "loop":
            return Problem(508, "loop-detected", "services call each other in a loop")
        detail = "a service that this needs is not available; retry later"
        return Problem(502, "service-failed", detail)


async def fetch(
    url: str,
    method: str = "GET",
    *,
    headers: HeadersInput = (),
    json: Any = None,
    body: bytes | str | AsyncIterable[bytes] = b"",
    timeout: float | None = None,
) -> Response:
    """Sends a request to a service, and returns the answer once its head is there.

    A window reaches what the operator has granted it in ``windows/NAME.yaml``, and nothing else.
    Keys stay with the host, which sets them where the file says ``inject``. Redirects are not
    followed. A status such as 404 or 500 is an answer, not an error; read its body by
    :meth:`Response.read_json`, or return it as it is.

        answer = await fetch("https://rates.example/v1/latest?to=USD", timeout=3)

    ``json`` is sent as the body. ``timeout`` is in seconds, until the answer begins, and can only
    shorten what the host allows. Raises :class:`FetchError` if there is no answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        why = "a URL begins with https:// and a host"
        raise FetchError(f"'{url}'", "invalid", why, False)
    target = f"{parts.scheme}://{parts.netloc}"
    grant = grant_of(parts, method.upper())
    return await _send(url, method, headers, json, body, timeout, target, grant)


async def call(
    window: str,
    path: str,
    method: str = "GET",
    *,
    headers: HeadersInput = (),
    json: Any = None,
    body: bytes | str | AsyncIterable[bytes] = b"",
    timeout: float | None = None,
) -> Response:
    """Sends a request to another window of this host, in the process; otherwise as :func:`fetch`.

    The operator grants it with ``calls: [NAME]``. The other window sees the user and the scopes of
    the request in hand, and answers paths as it does behind its route.

        answer = await call("docs", f"/docs/{id}")
    """
    target = f"the window '{window}'"
    # Anything else could name another host.
    if not re.fullmatch("[a-z0-9-]+", window):
        why = "a window's name has lower-case letters, digits and '-'"
        raise FetchError(target, "invalid", why, False)
    # The same holds for a path such as `-other/x` or `@other/x`.
    if path[:1] not in ("", "/", "?"):
        raise FetchError(target, "invalid", "a path begins with /", False)
    url = f"http://hms-svc-{window}{path}"
    grant = grant_of_window(window)
    return await _send(url, method, headers, json, body, timeout, target, grant)


async def _send(
    url: str,
    method: str,
    headers: HeadersInput,
    json: Any,
    body: bytes | str | AsyncIterable[bytes],
    timeout: float | None,
    target: str,
    grant: str,
) -> Response:
    host = _host.types
    sent = Headers(headers)
    if json is not None:
        body = _json.dumps(json, ensure_ascii=False, separators=(",", ":"))
        if "content-type" not in sent:
            sent.set("content-type", "application/json")
    if isinstance(body, (bytes, str)) and body and "content-length" not in sent:
        size = len(body if isinstance(body, bytes) else body.encode())
        sent.set("content-length", str(size))
    parts = urlsplit(url)
    try:
        fields = _wire.fields_of(sent)
        contents, trailers = _wire.body_of(body)
        request = host.Request.new(fields, contents, trailers, _options(timeout))[0]
        request.set_method(_wire.method_of(method.upper()))
        scheme = host.Scheme_Https() if parts.scheme == "https" else host.Scheme_Http()
        request.set_scheme(scheme)
        request.set_authority(parts.netloc)
        request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    except ValueError as error:
        raise FetchError(target, "invalid", str(error), False) from None
    except _host.Err:
        raise FetchError(target, "invalid", "its URL or method cannot be sent", False) from None
    try:
        answer = await _host.client.send(request)
    except _host.Err as error:
        raise _failure(target, grant, error.value) from None
    received = _wire.headers_of(answer.get_headers())
    return Response(answer.get_status_code(), _wire.Passed(answer), received)


def _options(timeout: float | None) -> Any:
    if timeout is None:
        return None
    options = _host.types.RequestOptions()
    nanoseconds = int(timeout * 1_000_000_000)
    for shorten in (options.set_connect_timeout, options.set_first_byte_timeout):
        try:
            shorten(nanoseconds)
        except _host.Err:
            # A host that does not know it has a time of its own.
            pass
    return options


_NOT_SENT = False
_MAYBE_SENT = True

_CODES = {
    "DestinationIpProhibited": (
        "denied",
        _NOT_SENT,
        "its address is not of the public internet: ask the operator to add its network to the"
        " entry in windows/NAME.yaml, as in 'private: [10.1.0.0/16]'",
    ),
    "LoopDetected": (
        "loop",
        _NOT_SENT,
        "call loop, or call chain more than 4 deep: leave out the call that leads back",
    ),
    "ConnectionTimeout": ("timeout", _NOT_SENT, "no connection in time: try again later"),
    "DnsTimeout": ("timeout", _NOT_SENT, "no connection in time: try again later"),
    "HttpResponseTimeout": ("timeout", _MAYBE_SENT, "no answer in time"),
    "ConnectionReadTimeout": ("timeout", _MAYBE_SENT, "the transfer stalled"),
    "ConnectionWriteTimeout": ("timeout", _MAYBE_SENT, "the transfer stalled"),
    "ConnectionLimitReached": (
        "limit",
        _NOT_SENT,
        "this window or this request has reached its call limit: make fewer calls, or try again"
        " shortly",
    ),
    "HttpRequestBodySize": ("limit", _MAYBE_SENT, "the body of the request is too large"),
    "HttpResponseBodySize": ("limit", _MAYBE_SENT, "the body of the answer is too large"),
    "ConnectionRefused": (
        "refused",
        _NOT_SENT,
        "it refuses connections: check its port, and that it runs",
    ),
    "DnsError": ("unavailable", _NOT_SENT, "its name has no address: check how it is spelt"),
    "DestinationNotFound": (
        "unavailable",
        _NOT_SENT,
        "its name has no address: check how it is spelt",
    ),
    "DestinationUnavailable": (
        "unavailable",
        _NOT_SENT,
        "it cannot be reached now: try again later",
    ),
    "DestinationIpUnroutable": (
        "unavailable",
        _NOT_SENT,
        "it cannot be reached now: try again later",
    ),
    "TlsProtocolError": ("tls", _NOT_SENT, "TLS failed"),
    "TlsCertificateError": (
        "tls",
        _NOT_SENT,
        "TLS failed: check that its certificate is valid for its name",
    ),
    "TlsAlertReceived": ("tls", _NOT_SENT, "TLS failed"),
    "ConnectionTerminated": ("broken", _MAYBE_SENT, "the connection broke before the end"),
    "HttpResponseIncomplete": ("broken", _MAYBE_SENT, "the connection broke before the end"),
    "HttpProtocolError": ("broken", _MAYBE_SENT, "its answer is not valid HTTP"),
    "HttpRequestUriInvalid": ("invalid", _NOT_SENT, "its URL cannot be sent: check it"),
    "HttpRequestUriTooLong": ("invalid", _NOT_SENT, "its URL cannot be sent: check it"),
    "HttpRequestMethodInvalid": ("invalid", _NOT_SENT, "its method cannot be sent"),
}


def _failure(target: str, grant: str, code: Any) -> FetchError:
    name = type(code).__name__.removeprefix("ErrorCode_")
    if name == "HttpRequestDenied":
        text = (
            "the host refuses it, and this window's log says why. If nothing grants it, ask the"
            " operator to add to this window's file in windows/:"
            f" {grant}"
        )
        return FetchError(target, "denied", text, False)
    if name == "InternalError":
        return FetchError(target, "other", code.value or "the host could not make the call", True)
    kind, may_have_arrived, text = _CODES.get(name, ("other", _MAYBE_SENT, name))
    return FetchError(target, kind, text, may_have_arrived)
