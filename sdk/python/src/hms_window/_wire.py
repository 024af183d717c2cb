"""Between the host's requests and responses, with their handles, and ours."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from . import _host
from .headers import Headers

CHUNK = 64 << 10
"""Bytes that are read at once."""

METHODS = ("Get", "Head", "Post", "Put", "Delete", "Connect", "Options", "Trace", "Patch")


def method_name(method: Any) -> str:
    """The name of a method: `GET`."""
    name: str = getattr(method, "value", None) or type(method).__name__.removeprefix("Method_")
    return name.upper()


def method_of(name: str) -> Any:
    """The host's word for a method."""
    if name.capitalize() in METHODS:
        return getattr(_host.types, f"Method_{name.capitalize()}")()
    return _host.types.Method_Other(name)


def headers_of(fields: Any) -> Headers:
    """Header fields of the host. Their values are bytes, mostly UTF-8."""
    return Headers([(name, _text(value)) for name, value in fields.copy_all()])


def fields_of(headers: Headers) -> Any:
    """Header fields for the host. `ValueError` if one is none of HTTP."""
    try:
        return _host.types.Fields.from_list(
            [(name, value.encode()) for name, value in headers.items()]
        )
    except _host.Err as error:
        reason = type(error.value).__name__.removeprefix("HeaderError_")
        names = ", ".join(headers)
        raise ValueError(f"a header cannot be sent ({reason}), one of: {names}") from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Passed:
    """The body of a message of the host: chunks as they come, or all of it to be sent on unread."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def take(self) -> tuple[Any, Any]:
        """Its stream, and the trailers behind it. It takes the message."""
        received = _host.bindings.result_unit_wasi_http_types_error_code_future(
            lambda: _host.Ok(None)
        )[1]
        message = self._message
        taken: tuple[Any, Any] = type(message).consume_body(message, received)
        return taken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream, trailers = self.take()
        with trailers:
            with stream:
                while not stream.writer_dropped:
                    chunk = await stream.read(CHUNK)
                    if chunk:
                        yield chunk
            # Only these say whether all of it has come.
            outcome = await trailers.read()
            if not isinstance(outcome, _host.Ok):
                reason = type(outcome.value).__name__.removeprefix("ErrorCode_")
                raise ConnectionError(f"the body broke off: {reason}")


async def read_all(message: Any, limit: int) -> bytes | None:
    """All of a body, or None if it has more than `limit` bytes."""
    read = bytearray()
    async for chunk in Passed(message):
        read += chunk
        if len(read) > limit:
            return None
    return bytes(read)


def body_of(body: bytes | str | AsyncIterable[bytes]) -> tuple[Any, Any]:
    """A body for the host, and its trailers; it is written beside whatever else happens."""
    if isinstance(body, Passed):
        return body.take()
    trailers = _host.bindings.result_option_wasi_http_types_fields_wasi_http_types_error_code_future(
        lambda: _host.Ok(None)
    )[1]
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes) and not body:
        return None, trailers
    writer, reader = _host.bindings.byte_stream()
    _host.spawn(_write(writer, body))
    return reader, trailers


async def _write(writer: Any, body: bytes | AsyncIterable[bytes]) -> None:
    with writer:
        if isinstance(body, bytes):
            await writer.write_all(body)
            return
        async for chunk in body:
            await writer.write_all(chunk)
            if writer.reader_dropped:
                return
