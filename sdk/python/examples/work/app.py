"""A window that names the parts of its work, which `hms requests ID` shows."""

from contextlib import suppress

from hms_window import Problem, Request, Response, Store, span, transaction, window


@window
def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "POST", ["work"]:
            with span("the whole work"):
                work = Store("work")
                transaction(lambda tx: tx.set(work, "worked", 1))
                with suppress(KeyError), span("what fails"):
                    raise KeyError
            return Response.text("done\n")
        case _, ["work"]:
            raise Problem.method_not_allowed("POST")
        case _:
            raise Problem.not_found()
