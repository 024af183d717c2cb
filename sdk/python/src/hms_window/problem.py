"""Errors for the client: problem details of RFC 9457."""

from __future__ import annotations

import json
import math
import sys
from http import HTTPStatus

from .headers import Headers, HeadersInput
from .response import Response


class Problem(Exception):
    """A refusal or a failure, sent to the client as ``application/problem+json``.

    Raise it. Its ``type`` is ``urn:hms:problem:CODE``; clients depend on the code, so never change
    one. ``detail`` is a sentence for people: what is wrong, and what to do.

        raise Problem(409, "already-paid", "this fee was paid on Monday")
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: HeadersInput = ()
    ) -> None:
        super().__init__(detail)
        self.status = status if 100 <= status <= 999 else 500
        self.code = code
        self.detail = detail
        self.headers = Headers(headers)

    @classmethod
    def bad_request(cls, detail: str) -> Problem:
        """400: the request is wrong, and ``detail`` says where."""
        return cls(400, "bad-request", detail)

    @classmethod
    def unauthorized(cls) -> Problem:
        """401: a caller is required, and the request has none."""
        return cls(
            401,
            "unauthorized",
            "authentication required: send a token as 'Authorization: Bearer TOKEN'",
            {"www-authenticate": 'Bearer realm="hms"'},
        )

    @classmethod
    def forbidden(cls, detail: str) -> Problem:
        """403: this caller may not do it."""
        return cls(403, "forbidden", detail)

    @classmethod
    def not_found(cls) -> Problem:
        """404: it does not exist, or this caller may not know of it."""
        return cls(404, "not-found", "not found")

    @classmethod
    def method_not_allowed(cls, allow: str) -> Problem:
        """405, with the ``Allow`` header: ``Problem.method_not_allowed("GET, HEAD, POST")``."""
        return cls(405, "method-not-allowed", f"allowed methods: {allow}", {"allow": allow})

    @classmethod
    def conflict(cls, detail: str) -> Problem:
        """409: it contradicts the current state."""
        return cls(409, "conflict", detail)

    @classmethod
    def too_large(cls, limit: int) -> Problem:
        """413: the body is larger than ``limit`` bytes."""
        detail = f"the request body is larger than {limit} bytes"
        return cls(413, "body-too-large", detail)

    @classmethod
    def reject(cls, detail: str) -> Problem:
        """422: it will never be accepted as it is.

        An event that is answered so is parked at once, for a person to look at.
        """
        return cls(422, "rejected", detail)

    @classmethod
    def internal(cls, cause: object) -> Problem:
        """500. ``cause`` goes to the window's log, not to the client."""
        print(f"internal error: {cause}", file=sys.stderr)
        return cls(
            500,
            "internal",
            "internal error; the window's log has the cause under this request ID",
        )

    def retry_after(self, seconds: float) -> Problem:
        """The same, saying when to try again at the earliest (``Retry-After``).

        Use it with a status that is worth another try, such as 429 or 503.
        """
        self.headers.set("retry-after", str(math.ceil(seconds)))
        return self

    def response(self, request_id: str | None = None) -> Response:
        """The answer that carries this problem."""
        try:
            title = HTTPStatus(self.status).phrase
        except ValueError:
            title = "Problem"
        details: dict[str, object] = {
            "type": f"urn:hms:problem:{self.code}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
        }
        if request_id:
            details["request-id"] = request_id
        headers = Headers([("content-type", "application/problem+json"), *self.headers.items()])
        # A client's text may have half a surrogate pair, and nothing catches what fails here.
        text = json.dumps(details, ensure_ascii=False, separators=(",", ":"))
        return Response(self.status, text.encode(errors="replace"), headers)
