"""A window that stands between a route and its upstream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from . import _host, _wire
from .headers import Headers
from .problem import Problem
from .request import Request
from .response import Response
from .serve import window

Next = Callable[[Request], Awaitable[Response]]
"""What comes next: further middleware, then the route's window or service."""


def middleware(handle: Callable[[Request, Next], Awaitable[Response]]) -> Any:
    """Makes a function this window's, which is a middleware: it stands between a route and its
    upstream, and answers a request itself, or by what comes next.

        @middleware
        async def handle(request: Request, next: Next) -> Response:
            if request.header("x-reason") is None:
                raise Problem.bad_request("say why, in x-reason")
            return (await next(request)).header("x-audited", "yes")

    Bodies stream through unread. A body that was read by :meth:`Request.chunks` goes on as the
    ``body`` that was set since, or empty. The caller cannot be changed: the host sets ``x-hms-*``
    again.
    """

    async def between(request: Request) -> Response:
        return await handle(request, _next)

    between.__name__ = handle.__name__
    window(stream=True)(between)
    return handle


async def _next(request: Request) -> Response:
    headers, body = request.headers, request.passed_on()
    if isinstance(body, bytes):
        names = ("content-length", "transfer-encoding")
        kept = [field for field in headers.items() if field[0] not in names]
        headers = Headers([*kept, ("content-length", str(len(body)))] if body else kept)
    contents, trailers = _wire.body_of(body)
    sent = _host.types.Request.new(_wire.fields_of(headers), contents, trailers, None)[0]
    sent.set_method(_wire.method_of("HEAD" if request.is_head else request.method))
    sent.set_path_with_query(request.path + (f"?{request.query}" if request.query else ""))
    sent.set_scheme(_host.types.Scheme_Http())
    sent.set_authority(request.authority)
    try:
        answer = await _host.chain.handle(sent)
    except _host.Err as error:
        reason = type(error.value).__name__.removeprefix("ErrorCode_")
        raise Problem(502, "no-answer", f"the next handler did not answer: {reason}") from None
    received = _wire.headers_of(answer.get_headers())
    return Response(answer.get_status_code(), _wire.Passed(answer), received)
