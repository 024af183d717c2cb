"""Conditional requests: RFC 9110, section 13, by entity tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Union
from urllib.parse import quote

from .headers import Headers
from .problem import Problem

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\uffff]*"(?=\s*(?:,|$))')

_Tags = Union[str, list[str], None]
"""``*``, tags, or None where the field is not there."""


def entity_tag(version: str | int) -> str:
    """The ``ETag`` of a version number, a hash or an id. What a tag cannot contain is encoded."""
    return '"' + quote(str(version), safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~") + '"'


def not_modified(method: str, headers: Headers, tag: str | None) -> bool:
    """Whether the client has it already: 304. 412 where a condition fails."""
    reads = method in ("GET", "HEAD")
    match = _tags(headers, "if-match", changes=not reads)
    if match is not None and not _has(match, tag, lambda one: one == tag and one[:2] != "W/"):
        raise _failed("if-match")
    none = _tags(headers, "if-none-match", changes=not reads)
    if none is None or not _has(none, tag, lambda one: _weak(one) == _weak(tag or "")):
        return False
    if not reads:
        raise _failed("if-none-match")
    return True


def same_range(headers: Headers, tag: str) -> bool:
    """Whether a range is of what the client has a part of (``If-Range``)."""
    value = headers.get("if-range")
    return value is None or (value.strip() == tag and not tag.startswith("W/"))


def _has(tags: str | list[str], tag: str | None, fits: Callable[[str], bool]) -> bool:
    return tag is not None and (tags == "*" or any(fits(one) for one in tags))


def _weak(tag: str) -> str:
    return tag.removeprefix("W/")


def _failed(field: str) -> Problem:
    return Problem(412, "precondition-failed", f"it is not as '{field}' says: read it again")


def _tags(headers: Headers, field: str, changes: bool) -> _Tags:
    values = headers.get_all(field)
    if not values:
        return None
    rest = ",".join(values)
    if rest.strip() == "*":
        return "*"
    tags = []
    while rest := rest.lstrip(" \t,"):
        found = _TAG.match(rest)
        if found:
            tags.append(found[0])
            rest = rest[found.end() :]
        elif changes:
            raise Problem.bad_request(f"'{field}' is not a list of entity tags")
        else:
            # What cannot be read names nothing.
            _, comma, rest = rest.partition(",")
            rest = comma + rest
    return tags
