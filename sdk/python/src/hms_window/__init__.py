"""Write a service window in Python.

A window is a component that answers HTTP requests: one function from a :class:`Request` to a
:class:`Response`.

    from hms_window import Problem, Request, Response, window

    @window
    def handle(request: Request) -> Response:
        match request.method, request.segments:
            case "GET", ["hello"]:
                return Response.text("hello\\n")
            case _, ["hello"]:
                raise Problem.method_not_allowed("GET, HEAD")
            case _:
                raise Problem.not_found()

``python -m hms_window build app.py -o dist/NAME.wasm`` makes the component.
"""

from .conditional import entity_tag
from .config import Secret, config, secret
from .event import Event, ReceivedEvent
from .fetch import FetchError, call, fetch
from .headers import Headers
from .ids import new_id, now_ms, sleep
from .middleware import Next, middleware
from .problem import Problem
from .request import Caller, Request
from .response import Response
from .serve import window
from .site import Site
from .span import span
from .store import Page, Store, StoreError
from .transaction import Committed, Transaction, TransactionError, transaction

__all__ = [
    "Caller",
    "Committed",
    "Event",
    "FetchError",
    "Headers",
    "Next",
    "Page",
    "Problem",
    "ReceivedEvent",
    "Request",
    "Response",
    "Secret",
    "Site",
    "Store",
    "StoreError",
    "Transaction",
    "TransactionError",
    "call",
    "config",
    "entity_tag",
    "fetch",
    "middleware",
    "new_id",
    "now_ms",
    "secret",
    "sleep",
    "span",
    "transaction",
    "window",
]
