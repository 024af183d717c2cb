"""The window {{name}}: items in its store.

    POST   /{{name}}         {"title": "bread"}  ->  201 {"id", "title"}
    GET    /{{name}}         {"items": […], "next"}    ?limit=&cursor=, the oldest first
    GET    /{{name}}/{id}    {"id", "title"}
    PUT    /{{name}}/{id}    {"title": "cake"}
    DELETE /{{name}}/{id}
"""

from typing import Any

from hms_window import Problem, Request, Response, Store, new_id, window

Item = dict[str, Any]


@window
def handle(request: Request) -> Response:
    items = Store("items")
    match request.method, request.segments:
        case "POST", ["{{name}}"]:
            return create(items, request)
        case "GET", ["{{name}}"]:
            return listed(items, request)
        case "GET", ["{{name}}", id]:
            return Response.json(found(items.get(id)))
        case "PUT", ["{{name}}", id]:
            return replace(items, id, read(request))
        case "DELETE", ["{{name}}", id]:
            found(items.get(id))
            items.delete(id)
            return Response.empty()
        case _, ["{{name}}"]:
            raise Problem.method_not_allowed("GET, HEAD, POST")
        case _, ["{{name}}", _]:
            raise Problem.method_not_allowed("DELETE, GET, HEAD, PUT")
        case _:
            raise Problem.not_found()


def create(items: Store, request: Request) -> Response:
    item = {"id": new_id(), **read(request)}
    items.set(item["id"], item)
    location = request.public_path(f"/{{name}}/{item['id']}")
    return Response.json(item, 201, {"location": location})


def listed(items: Store, request: Request) -> Response:
    limit = min(max(request.param("limit", int, 50), 1), 200)
    page = items.page(request.param("cursor"), limit)
    some = [item for item in items.get_many(page.keys) if item is not None]
    return Response.json({"items": some, "next": page.next})


def replace(items: Store, id: str, form: Item) -> Response:
    """Only what is there is replaced: of two requests at once, neither undoes a deletion."""
    return Response.json(items.update(id, lambda old: {**found(old), **form}))


def found(item: Item | None) -> Item:
    if item is None:
        raise Problem.not_found()
    return item


def read(request: Request) -> Item:
    title = request.json(dict).get("title")
    if not isinstance(title, str) or not title:
        raise Problem.bad_request("'title' is missing, or no text")
    return {"title": title}
