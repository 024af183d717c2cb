"""The window {{name}}.

    GET /{{name}}          a greeting; ?name= says for whom
    GET /{{name}}/time     {"milliseconds": …}, since 1970
"""

from hms_window import Problem, Request, Response, now_ms, window


@window
def handle(request: Request) -> Response:
    match request.method, request.segments:
        case "GET", ["{{name}}"]:
            return greet(request.param("name"))
        case "GET", ["{{name}}", "time"]:
            return Response.json({"milliseconds": now_ms()})
        case _, ["{{name}}"] | ["{{name}}", "time"]:
            raise Problem.method_not_allowed("GET, HEAD")
        case _:
            raise Problem.not_found()


def greet(name: str | None) -> Response:
    return Response.text(f"hello {name}\n" if name else "hello from {{name}}\n")
