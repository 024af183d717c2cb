"""The window {{name}}: it emits an event with what it writes, and receives its own.

    POST /{{name}}        {"amount": 3}  ->  201 {"id"}, and the event {{name}}.added.v1
    GET  /{{name}}/sum    {"sum": 3}     of the events that were delivered
    POST /events          a delivery, by the subscription in windows/{{name}}.yaml
"""

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

ADDED = "{{name}}.added.v1"


@window
def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "POST", ["{{name}}"]:
            return add(request)
        case "GET", ["{{name}}", "sum"]:
            return Response.json({"sum": Store("sums").get("amount", 0)})
        case "POST", ["events"]:
            return received(request)
        case _:
            raise Problem.not_found()


def add(request: Request) -> Response:
    amount = request.json(dict).get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise Problem.bad_request("'amount' is missing, or no whole number")
    items = Store("items")
    id = new_id()

    # Both are on disk when it returns, or neither is.
    def write(tx: Transaction) -> None:
        tx.set(items, id, {"id": id, "amount": amount})
        tx.emit(Event(ADDED, {"id": id, "amount": amount}, subject=id))

    transaction(write)
    return Response.json({"id": id}, 201)


def received(request: Request) -> Response:
    event = request.event()
    amount = event.json()["amount"]
    sums = Store("sums")

    def count(tx: Transaction) -> None:
        tx.once(event)  # a second delivery changes nothing
        tx.increment(sums, "amount", amount)

    transaction(count)
    return Response.empty()
