"""The window {{name}}: it takes orders, tells of them by events, and counts what it hears of.

    POST /{{name}}   {"item", "count"}  ->  201 {"id"}, and an event {{name}}.ordered.v1
    GET  /{{name}}   {"ITEM": count, …}
    POST /events     where the host delivers: see windows/{{name}}.yaml
"""

from collections.abc import Callable
from typing import Any

from hms_window import (
    Event,
    Problem,
    Request,
    Response,
    Store,
    Transaction,
    new_id,
    transaction,
    window,
)

ORDERED = "{{name}}.ordered.v1"
"""The type of the event. Its last part is the version of its data."""


@window
def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "POST", ["{{name}}"]:
            return order(request)
        case "GET", ["{{name}}"]:
            return counts()
        # No route leads here: only the host reaches it.
        case "POST", ["events"]:
            return received(request)
        case _, ["{{name}}"]:
            raise Problem.method_not_allowed("GET, HEAD, POST")
        case _:
            raise Problem.not_found()


def order(request: Request) -> Response:
    """The order and its event are written together: there is never one without the other."""
    item, count = read(request.json(), Problem.bad_request)
    data = {"item": item, "count": count}
    orders = Store("orders")
    id = new_id()

    def write(tx: Transaction) -> None:
        tx.set(orders, id, data)
        tx.emit(Event(ORDERED, data, subject=id))

    transaction(write)
    return Response.json({"id": id}, 201)


def received(request: Request) -> Response:
    """An event comes at least once. `once` makes its effect happen once."""
    event = request.event()
    # What would never succeed is rejected: a person has to look at it.
    item, count = read(event.json(), Problem.reject)
    counts = Store("counts")

    def add(tx: Transaction) -> None:
        tx.once(event)
        tx.increment(counts, item, count)

    transaction(add)
    return Response.empty()


def counts() -> Response:
    counts = Store("counts")
    items = list(counts.keys())
    return Response.json(dict(zip(items, counts.get_many(items))))


def read(order: Any, refuse: Callable[[str], Problem]) -> tuple[str, int]:
    order = order if isinstance(order, dict) else {}
    item, count = order.get("item"), order.get("count")
    if not isinstance(item, str) or not item:
        raise refuse("'item' is missing, or no text")
    if not isinstance(count, int) or isinstance(count, bool):
        raise refuse("'count' is missing, or no whole number")
    return item, count
