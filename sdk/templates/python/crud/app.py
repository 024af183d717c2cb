"""The window {{name}}: notes, which their owner alone sees.

    POST   /{{name}}        {"title", "text"}  ->  201 {"id", "version", "title", "text"}
    GET    /{{name}}        {"notes": […], "next"}     ?limit=&cursor=, the oldest first
    GET    /{{name}}/{id}   with an entity tag
    PUT    /{{name}}/{id}   If-Match: the tag that was read, so that no change is lost
    DELETE /{{name}}/{id}   the same
"""

from typing import Any

from hms_window import (
    Problem,
    Request,
    Response,
    Store,
    Transaction,
    entity_tag,
    new_id,
    transaction,
    window,
)

Note = dict[str, Any]

PAGE = 20
PAGE_MAX = 100
"""Notes in one answer: what a client gets unasked, and the most it can ask for."""

MAX_TITLE = 200
"""The longest title, in characters."""


@window
def handle(request: Request) -> Response:
    # Each user's own part of the store: another user's notes do not exist for them.
    notes = request.caller().store("notes")
    match request.method, request.segments:
        case "POST", ["{{name}}"]:
            return create(request, notes)
        case "GET", ["{{name}}"]:
            return listed(request, notes)
        case "GET", ["{{name}}", id]:
            return show(request, found(notes.get(id)))
        case "PUT", ["{{name}}", id]:
            return replace(request, notes, id)
        case "DELETE", ["{{name}}", id]:
            return delete(request, notes, id)
        case _, ["{{name}}"]:
            raise Problem.method_not_allowed("GET, HEAD, POST")
        case _, ["{{name}}", _]:
            raise Problem.method_not_allowed("GET, HEAD, PUT, DELETE")
        case _:
            raise Problem.not_found()


def create(request: Request, notes: Store) -> Response:
    # Ids are in the order of time, and so are keys.
    note = {"id": new_id(), "version": 1, **read(request)}
    notes.set(note["id"], note)
    location = request.public_path(f"/{{name}}/{note['id']}")
    return answer(note, 201).header("location", location)


def listed(request: Request, notes: Store) -> Response:
    limit = min(max(request.param("limit", int, PAGE), 1), PAGE_MAX)
    page = notes.page(request.param("cursor"), limit)
    some = [note for note in notes.get_many(page.keys) if note is not None]
    return Response.json({"notes": some, "next": page.next})


def show(request: Request, note: Note) -> Response:
    if request.not_modified(note["version"]):
        return Response.empty(304, {"etag": entity_tag(note["version"])})
    return answer(note)


def replace(request: Request, notes: Store, id: str) -> Response:
    form = read(request)

    # Check and change are one step: if another request was faster, both run again.
    def newer(old: Note | None) -> Note:
        version = found(old)["version"]
        request.not_modified(version)
        return {"id": id, "version": version + 1, **form}

    return answer(notes.update(id, newer))


def delete(request: Request, notes: Store, id: str) -> Response:
    def run(tx: Transaction) -> None:
        request.not_modified(found(tx.get(notes, id))["version"])
        tx.delete(notes, id)

    transaction(run)
    return Response.empty()


def answer(note: Note, status: int = 200) -> Response:
    return Response.json(note, status, {"etag": entity_tag(note["version"])})


def found(note: Note | None) -> Note:
    if note is None:
        raise Problem.not_found()
    return note


def read(request: Request) -> Note:
    form = request.json(dict)
    title, text = form.get("title"), form.get("text", "")
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE:
        raise Problem.bad_request(f"'title' must have 1 to {MAX_TITLE} characters")
    if not isinstance(text, str):
        raise Problem.bad_request("'text' is not a string")
    return {"title": title, "text": text}
