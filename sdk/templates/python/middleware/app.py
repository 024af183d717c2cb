"""The middleware {{name}}: it asks for a reason where something is deleted, keeps who changed what,
and adds a header to the answer. It stands in every route with `- wasm: {window: {{name}}}`.
"""

from hms_window import Next, Problem, Request, Response, Store, middleware, new_id, now_ms


@middleware
async def handle(request: Request, next: Next) -> Response:
    if request.method in ("GET", "OPTIONS"):
        return await next(request)
    reason = request.header("x-reason")
    if request.method == "DELETE" and reason is None:
        raise Problem.bad_request("say why it is deleted, in the header x-reason")
    # Bodies stream through, in both directions.
    response = await next(request)
    entry = {
        "user": request.header("x-hms-user"),
        "method": request.method,
        "path": request.path,
        "reason": reason,
        # Milliseconds since 1970.
        "at": now_ms(),
        # What the answer said.
        "status": response.status,
    }
    id = new_id()
    Store("changes").set(id, entry)
    return response.header("x-change", id)
