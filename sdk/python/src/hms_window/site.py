"""Static sites: files that are in the component."""

from __future__ import annotations

import re

from .conditional import not_modified, same_range
from .headers import Headers
from .problem import Problem
from .request import Request
from .response import Response

CSP = (
    "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self';"
    " frame-ancestors 'none'"
)
"""The policy of pages: all from the site itself, no inline scripts, no frame around it."""

_IMMUTABLE = "public, max-age=31536000, immutable"
_ASK = "no-cache"
# What the gateway may store (RFC 9213). It drops it with the release.
_GATEWAY = "public, max-age=31536000"


class Site:
    """The files of a folder, which ``hms-window build --site FOLDER`` has put into the component.

        SITE = Site("dist")

        @window
        def handle(request: Request) -> Response:
            return SITE.answer(request)

    ``/`` is ``index.html``, ``/guide/`` is ``guide/index.html``, and ``404.html`` is what else is
    answered. With ``single_page``, navigations to what is not there get ``index.html``. Files are
    compressed when the window is built; there are entity tags, ranges, and a policy of the pages.
    """

    def __init__(self, folder: str, *, single_page: bool = False, csp: str = CSP) -> None:
        try:
            from hms_window_sites import SITES  # type: ignore[import-not-found]
        except ModuleNotFoundError:
            SITES = {}
        if folder not in SITES:
            raise RuntimeError(
                f"the site '{folder}' is not in the component: build it by"
                f" 'hms-window build --site {folder}'"
            )
        self._files: dict[str, tuple[str, str, bool, dict[str, bytes]]] = SITES[folder]
        self._single_page = single_page
        self._csp = csp

    def answer(self, request: Request) -> Response:
        """Answers with what the path names. 404 where there is no page that says so."""
        if request.method != "GET":
            raise Problem.method_not_allowed("GET, HEAD")
        name = "/".join(request.segments)
        is_folder = not name or name.endswith("/")
        index = f"{name}index.html" if is_folder else f"{name}/index.html"
        found = index if is_folder else name
        if found in self._files:
            response = self._give(request, found, 200)
            response.headers.set("hms-cache-control", _GATEWAY)
            return response
        if not is_folder and index in self._files:
            query = f"?{request.query}" if request.query else ""
            location = request.public_path(f"{request.path}/") + query
            return Response.empty(308, {"location": location})
        spa = self._single_page and _is_navigation(request)
        page, status = ("index.html", 200) if spa else ("404.html", 404)
        if page not in self._files:
            raise Problem.not_found()
        return self._give(request, page, status)

    def _give(self, request: Request, name: str, status: int) -> Response:
        media, tag, hashed, coded = self._files[name]
        ranges = request.headers.get_all("range")
        # HEAD knows no ranges (RFC 9110, section 14.2), and several fields are none.
        wanted = ranges[0] if len(ranges) == 1 and not request.is_head and status == 200 else None
        # A part is a part of the file as it is.
        coding = _accepted(request.headers, coded) if wanted is None else "plain"
        etag = '"' + tag + {"br": "-br", "gzip": "-gz", "plain": ""}[coding] + '"'
        headers = Headers(
            {
                "etag": etag,
                "cache-control": _IMMUTABLE if hashed else _ASK,
                "accept-ranges": "bytes",
                "x-content-type-options": "nosniff",
            }
        )
        if len(coded) > 1:
            headers.set("vary", "accept-encoding")
        if media.startswith(("text/html", "image/svg")):
            headers.set("content-security-policy", self._csp)
        if status == 200 and not_modified("GET", request.headers, etag):
            return Response.empty(304, headers)
        body = coded[coding]
        if wanted is not None and same_range(request.headers, etag):
            part = _part(wanted, len(body))
            if part is not None:
                size = len(body)
                if part[0] >= part[1]:
                    headers.set("content-range", f"bytes */{size}")
                    return Response.empty(416, headers)
                headers.set("content-range", f"bytes {part[0]}-{part[1] - 1}/{size}")
                body, status = body[part[0] : part[1]], 206
        headers.set("content-type", media)
        if coding != "plain":
            headers.set("content-encoding", coding)
        return Response(status, body, headers)


def _accepted(headers: Headers, coded: dict[str, bytes]) -> str:
    """The smallest coding that is there and that the client accepts."""
    said: dict[str, bool] = {}
    for item in ",".join(headers.get_all("accept-encoding")).lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0*)?", part) for part in parameters)
        said.setdefault(coding, not refused)
    for coding in ("br", "gzip"):
        if coding in coded and said.get(coding, said.get("*", False)):
            return coding
    return "plain"


def _part(wanted: str, size: int) -> tuple[int, int] | None:
    """From where to where, or None for all of it (RFC 9110, section 14)."""
    # No file has 19 digits of bytes, and a number of 4,301 digits Python refuses to read.
    found = re.fullmatch(
        r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", wanted, re.IGNORECASE
    )
    if not found or not (found[1] or found[2]):
        return None
    first = int(found[1]) if found[1] else None
    last = int(found[2]) if found[2] else None
    if first is None:
        return max(size - (last or 0), 0), size
    if last is not None and first > last:
        return None
    return first, size if last is None else min(last + 1, size)


def _is_navigation(request: Request) -> bool:
    """Whether a person goes to a page: something that wants HTML, and no file by its name."""
    types = [part.split(";")[0].strip() for part in (request.header("accept") or "").split(",")]
    return "text/html" in [kind.lower() for kind in types] and "." not in request.segments[-1]
