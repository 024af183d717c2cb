"""The files of a site, for the component: run when it is built."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from pathlib import Path
from typing import Any

MAX_BYTES = 8 << 20
"""Bytes of all files of a site: they are in the memory of each instance, up to three times."""

MEDIA = {
    "avif": "image/avif",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "gif": "image/gif",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "application/xml",
    "zip": "application/zip",
}
"""What browsers are sent, by the end of the name."""

PACKED = {
    "avif", "gif", "jpeg", "jpg", "mp3", "mp4", "ogg", "pdf", "png", "webm", "webp", "woff",
    "woff2", "zip",
}
"""Those that are compressed already."""


def files(folder: Path) -> dict[str, Any]:
    """Every file below a folder but the hidden ones: name, media type, tag, and its codings.

    ``ValueError`` if there is no such folder, or too much in it.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: build the site first")
    found: dict[str, Any] = {}
    total = 0
    for path in sorted(_below(folder)):
        data = path.read_bytes()
        total += len(data)
        if total > MAX_BYTES:
            raise ValueError(f"{folder} has more than 8 MiB, which each instance has in its memory")
        name = path.relative_to(folder).as_posix()
        end = path.suffix.removeprefix(".").lower()
        coded = {"plain": data}
        if end not in PACKED:
            for coding, small in _compressed(data):
                if len(small) < len(data):
                    coded[coding] = small
        tag = hashlib.sha256(data).hexdigest()[:16]
        media = MEDIA.get(end, "application/octet-stream")
        found[name] = (media, tag, is_hashed(name), coded)
    return found


def _below(folder: Path) -> list[Path]:
    found = []
    for at, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "." or name == ".well-known"]
        found += [Path(at, name) for name in names if name[0] != "."]
    return found


def _compressed(data: bytes) -> list[tuple[str, bytes]]:
    made = [("gzip", gzip.compress(data, 9, mtime=0))]
    try:
        import brotli  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        return made
    return [("br", brotli.compress(data, quality=11)), *made]


def is_hashed(name: str) -> bool:
    """Whether a name has a hash of the content, as bundlers name files; in doubt it has none."""
    stem, dot, end = name.rsplit("/", 1)[-1].rpartition(".")
    if not dot or end in ("html", "htm"):
        return False
    if end == "map":
        stem = stem.rpartition(".")[0] or stem
    by_dot = stem.rpartition(".")[2] if "." in stem else ""
    by_hyphen = stem[-8:] if len(stem) > 9 and stem[-9] == "-" else ""
    last = stem.rpartition("-")[2] if "-" in stem else ""
    return _is_hex(by_dot) or _is_mixed(by_dot) or _is_mixed(by_hyphen) or _is_hex(last)


def _is_hex(text: str) -> bool:
    return bool(re.fullmatch("(?=.*[0-9])(?=.*[a-f])[0-9a-f]{8,}", text))


def _is_mixed(text: str) -> bool:
    return bool(re.fullmatch("(?=.*[0-9])(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9_-]{8}", text))
