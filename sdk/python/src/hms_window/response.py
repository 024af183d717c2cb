"""Answers, to the client and from services."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from typing import Any

from .headers import Headers, HeadersInput


@dataclass
class Response:
    """An answer: a status, a body and headers.

    ``body`` is bytes, a text, or an async iterable of bytes that are sent as they come.
    """

    status: int = 200
    body: bytes | str | AsyncIterable[bytes] = b""
    headers: Headers = field(default_factory=Headers)

    def __post_init__(self) -> None:
        if not isinstance(self.headers, Headers):
            self.headers = Headers(self.headers)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: HeadersInput = ()) -> Response:
        """``value`` as JSON."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return cls._of("application/json", body, status, headers)

    @classmethod
    def text(cls, text: str, status: int = 200, headers: HeadersInput = ()) -> Response:
        """A plain text in UTF-8."""
        return cls._of("text/plain; charset=utf-8", text.encode(), status, headers)

    @classmethod
    def html(cls, html: str, status: int = 200, headers: HeadersInput = ()) -> Response:
        """A page."""
        return cls._of("text/html; charset=utf-8", html.encode(), status, headers)

    @classmethod
    def empty(cls, status: int = 204, headers: HeadersInput = ()) -> Response:
        """No body."""
        return cls(status, b"", Headers(headers))

    @classmethod
    def stream(
        cls,
        chunks: AsyncIterable[bytes],
        content_type: str = "application/octet-stream",
        status: int = 200,
        headers: HeadersInput = (),
    ) -> Response:
        """A body that is sent as ``chunks`` come."""
        return cls._of(content_type, chunks, status, headers)

    @classmethod
    def _of(
        cls, content_type: str, body: Any, status: int, headers: HeadersInput
    ) -> Response:
        sent = Headers(headers)
        if "content-type" not in sent:
            sent.set("content-type", content_type)
        return cls(status, body, sent)

    def header(self, name: str, value: str) -> Response:
        """The same, with this header in place of those of its name."""
        self.headers.set(name, value)
        return self

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    async def read(self, limit: int = 16 << 20) -> bytes:
        """All of the body, such as that of an answer of :func:`fetch`.

        Raises ``ValueError`` if it has more than ``limit`` bytes.
        """
        if isinstance(self.body, str):
            self.body = self.body.encode()
        if not isinstance(self.body, bytes):
            read = bytearray()
            async for chunk in self.body:
                read += chunk
                if len(read) > limit:
                    raise ValueError(f"the body has more than {limit} bytes")
            self.body = bytes(read)
        return self.body

    async def read_json(self, limit: int = 16 << 20) -> Any:
        """The body as JSON. Raises ``ValueError`` if it is not JSON."""
        return json.loads(await self.read(limit))
