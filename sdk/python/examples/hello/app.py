"""The smallest window."""

from hms_window import Problem, Request, Response, window


@window
def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "GET", [""]:
            return Response.text("hello\n")
        case "GET", ["boom"]:
            return Response.text(str(1 / int("0")))
        case _:
            raise Problem.not_found()
