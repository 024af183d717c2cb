"""From the host's call to the author's function, and back."""

from __future__ import annotations

import asyncio
import contextvars
import linecache
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Union, overload

from . import _host, _wire
from .fetch import FetchError
from .headers import Headers
from .problem import Problem
from .request import Request
from .response import Response
from .store import StoreError
from .transaction import TransactionError

Handle = Callable[[Request], Union[Response, Awaitable[Response]]]

BODY_LIMIT = 1 << 20
"""Bytes of a body that is read before the function is called."""

_PACKAGE = __file__.rsplit("/", 1)[0]


class _Window:
    """The function of this window, and how its requests are read."""

    def __init__(self, handle: Handle, body_limit: int, stream: bool) -> None:
        self.handle = handle
        self.body_limit = body_limit
        self.stream = stream


_windows: list[_Window] = []

_sources: dict[str, list[str]] = {}
"""Lines of the author's files, for tracebacks. Not `linecache`'s: that forgets files that it cannot
see, once it is asked about the cause of an error.
"""


@overload
def window(handle: Handle, /) -> Handle: ...
@overload
def window(*, body_limit: int = BODY_LIMIT, stream: bool = False) -> Callable[[Handle], Handle]: ...
def window(
    handle: Handle | None = None, *, body_limit: int = BODY_LIMIT, stream: bool = False
) -> Any:
    """Makes a function this window's: it is called once for each request.

        @window
        def handle(request: Request) -> Response: ...

    It may be ``async``, which :func:`fetch` and :func:`call` need. What it raises is an answer: a
    :class:`Problem` as it says, and anything else 500, with the traceback in the window's log.

    The body is read before it is called: up to ``body_limit`` bytes, and more is 413. With
    ``stream=True`` it is not: an ``async`` function reads it by :meth:`Request.chunks`.
    """

    def register(handle: Handle) -> Handle:
        if _windows:
            other, this = _windows[0].handle.__name__, handle.__name__
            raise TypeError(f"a window has one function: '{other}' is it, and '{this}' as well")
        _windows.append(_Window(handle, body_limit, stream))
        return handle

    return register if handle is None else register(handle)


def prepare() -> None:
    """What is done once, when the component is made: each instance starts from there."""
    if not _windows:
        raise SystemExit("no function has @window: put it above the one that answers requests")
    _warm()
    # At run time there are no files to read lines of a traceback from.
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and _is_authors(file):
            _sources[file] = linecache.getlines(file)


def _warm() -> None:
    """Runs what each request runs, so far as it needs no host.

    The interpreter then has its caches filled, and an instance need not copy their memory.
    """
    from componentize_py_async_support import (  # type: ignore[import-not-found]
        _FutureState,
        _loop,
        _set_future_state,
    )

    async def one() -> Response:
        headers = Headers([("x-hms-user", "a"), ("content-type", "application/json")])
        request = Request("POST", "/a/b%20c", "limit=1", headers, b'{"a":[1,"b",null]}')
        request.param("limit", int, 1)
        request.caller()
        return Response.json({"segments": request.segments, "json": request.json()}, 201)

    for _ in range(20):
        state = _FutureState(None, {}, [], 0)
        context = contextvars.Context()
        context.run(_set_future_state, state)
        task = asyncio.create_task(one(), context=context)
        _loop.poll(state)
        _with_length(task.result())
        Problem.not_found().response("a")


class Handler:
    """What the component exports: `wasi:http/handler`."""

    async def handle(self, request: Any) -> Any:
        """Answers one request."""
        window = _windows[0]
        headers = _wire.headers_of(request.get_headers())
        try:
            response = await _answer(window, request, headers)
            return _sent(response)
        except Exception as error:
            return _sent(failure(error).response(headers.get("x-request-id")))


async def _answer(window: _Window, request: Any, headers: Headers) -> Response:
    method = _wire.method_name(request.get_method())
    path, _, query = (request.get_path_with_query() or "/").partition("?")
    is_head = method == "HEAD"
    authority = request.get_authority()
    body, chunks = b"", None
    if window.stream:
        chunks = _wire.Passed(request)
    elif method not in ("GET", "HEAD") or "content-length" in headers:
        read = await _wire.read_all(request, window.body_limit)
        if read is None:
            raise Problem.too_large(window.body_limit)
        body = read
    asked = Request(
        "GET" if is_head else method, path, query, headers, body, is_head, authority, chunks
    )
    answer = window.handle(asked)
    if not isinstance(answer, Response) and hasattr(answer, "__await__"):
        answer = await answer
    if not isinstance(answer, Response):
        name = window.handle.__name__
        raise TypeError(f"'{name}' returned {type(answer).__name__}, and not a Response")
    return answer


def _sent(response: Response) -> Any:
    headers, body = _with_length(response)
    fields = _wire.fields_of(headers)
    contents, trailers = _wire.body_of(body)
    sent = _host.types.Response.new(fields, contents, trailers)[0]
    if response.status != 200:
        sent.set_status_code(response.status)
    return sent


def _with_length(response: Response) -> tuple[Headers, Any]:
    headers, body = response.headers, response.body
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes) and response.status not in (204, 304):
        if "content-length" not in headers:
            headers = Headers([*headers.items(), ("content-length", str(len(body)))])
    return headers, body


def failure(error: Exception) -> Problem:
    """What a client is told of what the function has raised."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, (StoreError, TransactionError, FetchError)):
        return error.problem()
    print(explained(error), file=sys.stderr)
    return Problem(
        500, "internal", "internal error; the window's log has the cause under this request ID"
    )


def explained(error: BaseException) -> str:
    """An error for the log: what it is, the author's lines first, then how it came there."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = [
        (frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in reversed(frames) if _is_authors(frame[0])]
    others = [
        frame for frame in reversed(frames)
        if not _is_authors(frame[0]) and not frame[0].startswith(_PACKAGE)
    ]
    lines = [summary, *(_line(*frame) for frame in ours), *(_line(*frame) for frame in others)]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(f"because of {explained(cause)}")
    return "\n".join(lines)


def _line(file: str, line: int, function: str) -> str:
    known = _sources.get(file, [])
    source = known[line - 1].strip() if 0 < line <= len(known) else ""
    # Folders have numbers in a component: `/0/app.py`.
    parts = file.split("/")
    name = "/".join(parts[2:]) if len(parts) > 2 and parts[1].isdigit() else file
    return f"  {name}:{line} in {function}" + (f": {source}" if source else "")


def _is_authors(file: str) -> bool:
    """Whether it is code of the window, and neither of Python, of a package, nor of this one."""
    if file.startswith((_PACKAGE, "<", "/python", "/bundled", "/world")):
        return False
    return "/site-packages/" not in file and "hms_window_entry" not in file
