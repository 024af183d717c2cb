"""A component of Spin's SDK for Python: key-value store and variables."""

from spin_sdk import http, key_value, variables
from spin_sdk.http import Request, Response


class HttpHandler(http.Handler):
    async def handle_request(self, request: Request) -> Response:
        path, _, argument = request.uri.partition("?")
        if path.endswith("/kv"):
            with await key_value.open_default() as store:
                await store.set("a", b"1")
                seen = [await store.get("a"), await store.exists("b")]
                keys, done = await store.get_keys()
                with keys, done:
                    seen.append(await keys.read(100))
                text = str(seen)
        elif path.endswith("/variable"):
            try:
                text = await variables.get(argument)
            except Exception as error:
                text = repr(error)
        else:
            text = "hello from Python"
        return Response(200, {"content-type": "text/plain"}, f"{text}\n".encode())
