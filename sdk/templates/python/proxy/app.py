"""The window {{name}}: it asks a service for exchange rates, and keeps each for a minute.

    GET /{{name}}              {"rates": […]}, those that it has asked for
    GET /{{name}}/{currency}   {"currency", "rate", "at"}

Which service is said in windows/{{name}}.yaml, twice: as `rates-url`, which this code reads, and as
what the window may call.
"""

import re
import sys

from hms_window import FetchError, Problem, Request, Response, Store, config, fetch, now_ms, window

FRESH_MS = 60_000
"""How long a rate is good, in milliseconds."""

MOST = 500
"""Rates in the list: there are not as many currencies."""


@window
async def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "GET", [_]:
            return listed()
        case "GET", [_, currency]:
            return await show(currency)
        case _, [_] | [_, _]:
            raise Problem.method_not_allowed("GET, HEAD")
        case _:
            raise Problem.not_found()


def listed() -> Response:
    rates = Store("rates")
    known = rates.get_many(rates.page(None, MOST).keys)
    return Response.json({"rates": [rate for rate in known if rate is not None]})


async def show(currency: str) -> Response:
    if not re.fullmatch("[A-Z]{3}", currency):
        raise Problem.bad_request("a currency has three capital letters, such as CHF")
    rates = Store("rates")
    known = rates.get(currency)
    if known is not None and known["at"] + FRESH_MS > now_ms():
        return Response.json(known)
    rate = {"currency": currency, "rate": await ask(currency), "at": now_ms()}
    rates.set(currency, rate)
    return Response.json(rate)


async def ask(currency: str) -> float:
    url = config("rates-url")
    if url is None:
        raise Problem.internal("no rates-url is configured: see windows/{{name}}.yaml")
    try:
        answer = await fetch(f"{url}/v1/rates/{currency}", timeout=3)
    except FetchError as error:
        # The log has where it went, and of a denied call what to grant. The client needs neither.
        if error.kind == "timeout":
            print(error, file=sys.stderr)
            raise Problem(504, "rates-slow", "try again later") from None
        raise
    if answer.status == 404:
        raise Problem.not_found()
    if answer.status != 200:
        print(f"rates: the service answered {answer.status}", file=sys.stderr)
        raise Problem(502, "rates-unavailable", "the rates are not available now")
    return (await answer.read_json())["rate"]
