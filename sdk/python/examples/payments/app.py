"""The payments window, in Python: what `components/payments` does without a card.

    POST /payments          {"amount": 42, "purpose": "FOIA copy fee"}   ->  201 {"id"}
    GET  /payments/{id}     {"id", "amount", "purpose", "owner"}         its owner's only
    GET  /payments          {"payments": […], "next"}       ?limit=&cursor=, the oldest first

A payment is written together with the event that tells of it, `gov.payment.paid.v1`.
"""

import math
from typing import Any

from hms_window import (
    Event,
    Problem,
    Request,
    Response,
    Transaction,
    config,
    new_id,
    transaction,
    window,
)

PAGE = 50
PAGE_MAX = 200

MAX_BYTES = 60 * 1024
"""Bytes of a payment as JSON. An event has room for 64 KiB."""

OURS = ("id", "owner", "status", "charge")
"""Members that are this window's words and not the client's."""


@window(body_limit=MAX_BYTES)
def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "POST", ["payments"]:
            return take(request)
        case "GET", ["payments"]:
            return listed(request)
        case "GET", ["payments", id]:
            return show(request, id)
        case _, ["payments"]:
            raise Problem.method_not_allowed("GET, HEAD, POST")
        case _, ["payments", _]:
            raise Problem.method_not_allowed("GET, HEAD")
        case _:
            raise Problem.not_found()


def take(request: Request) -> Response:
    caller = request.caller()
    form = request.json(dict)
    check_amount(form)
    id = new_id()
    sent = {name: value for name, value in form.items() if name not in OURS}
    payment = {"id": id, **sent, "owner": caller.user}
    payments = caller.store("payments")
    currency = config("currency")

    def pay(tx: Transaction) -> None:
        tx.set(payments, id, payment)
        data = payment if currency is None else {**payment, "currency": currency}
        tx.emit(Event("gov.payment.paid.v1", data, subject=id))

    transaction(pay)
    location = request.public_path(f"/payments/{id}")
    return Response.json({"id": id}, 201, {"location": location})


def show(request: Request, id: str) -> Response:
    payment = request.caller().store("payments").get(id)
    if payment is None:
        raise Problem.not_found()
    return Response.json(payment)


def listed(request: Request) -> Response:
    payments = request.caller().store("payments")
    limit = min(max(request.param("limit", int, PAGE), 1), PAGE_MAX)
    page = payments.page(request.param("cursor"), limit)
    found = [payment for payment in payments.get_many(page.keys) if payment is not None]
    return Response.json({"payments": found, "next": page.next})


def check_amount(form: dict[str, Any]) -> None:
    """A payment needs an amount that is a number, finite and not negative."""
    if "amount" not in form:
        raise Problem.bad_request("'amount' is missing")
    amount = form["amount"]
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise Problem.bad_request("'amount' is not a number")
    if not math.isfinite(amount):
        raise Problem.bad_request("'amount' is too large")
    if amount < 0:
        raise Problem.bad_request("'amount' is negative")
