"""A window in Python, by componentize-py alone: WASI 0.3 and the window's store."""

from componentize_py_async_support import spawn
from componentize_py_types import Ok
from wit_world import byte_stream, exports
from wit_world import result_option_wasi_http_types_fields_wasi_http_types_error_code_future as trailers
from wit_world.imports import wasi_keyvalue_store as store
from wit_world.imports.wasi_http_types import Fields, Request, Response


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        visits = store.open("visits")
        count = int(visits.get("count") or b"0") + 1
        visits.set("count", str(count).encode())
        writer, reader = byte_stream()
        spawn(write(writer, f"visit {count}\n".encode()))
        return Response.new(Fields(), reader, trailers(lambda: Ok(None))[1])[0]


async def write(writer, text: bytes):
    with writer:
        await writer.write_all(text)
