"""The window {{name}}: files of any size, never in memory as a whole, which their owner alone sees.

    POST /{{name}}        the bytes  ->  201 {"id", "bytes", "media_type"}
    GET  /{{name}}        {"files": […], "next"}       ?cursor=, the oldest first
    GET  /{{name}}/{id}   the bytes, as they came
"""

from collections.abc import AsyncIterator

from hms_window import Problem, Request, Response, Store, new_id, window

PIECE = 1 << 20
"""Bytes of a file under one key. 1 MiB: a value may have 4 MiB, and an instance's memory is small."""

MAX_BYTES = 1 << 30
"""The largest file. 1 GiB."""

PAGE = 50
"""Files in one list."""


@window(stream=True)
async def handle(request: Request) -> Response:
    # Each user's own part of the store: another user's files do not exist for them.
    files = request.caller().store("files")
    match request.method, request.segments:
        case "POST", ["{{name}}"]:
            return await take(request, files)
        case "GET", ["{{name}}"]:
            return listed(request, files)
        case "GET", ["{{name}}", id]:
            return give(files, id)
        case _, ["{{name}}"]:
            raise Problem.method_not_allowed("GET, HEAD, POST")
        case _, ["{{name}}", _]:
            raise Problem.method_not_allowed("GET, HEAD")
        case _:
            raise Problem.not_found()


def key(id: str, number: int) -> str:
    return f"{id}/{number:08}"


def listed(request: Request, files: Store) -> Response:
    page = files.page(request.param("cursor"), PAGE)
    some = [file for file in files.get_many(page.keys) if file is not None]
    return Response.json({"files": some, "next": page.next})


async def take(request: Request, files: Store) -> Response:
    pieces = Store("pieces")
    id, number, size = new_id(), 0, 0
    try:
        async for piece in in_pieces(request.chunks()):
            size += len(piece)
            if size > MAX_BYTES:
                raise Problem.too_large(MAX_BYTES)
            pieces.set_bytes(key(id, number), piece)
            number += 1
        media_type = request.header("content-type", "application/octet-stream")
        # What is known of a file is written last: a file without it is none.
        file = {"id": id, "bytes": size, "media_type": media_type}
        files.set(id, file)
    except Exception:
        # Nobody will ever ask for them.
        for at in range(number):
            pieces.delete(key(id, at))
        raise
    location = request.public_path(f"/{{name}}/{id}")
    return Response.json(file, 201, {"location": location})


async def in_pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks, put together to pieces of one size."""
    piece = bytearray()
    async for chunk in chunks:
        piece += chunk
        while len(piece) >= PIECE:
            yield bytes(piece[:PIECE])
            del piece[:PIECE]
    if piece:
        yield bytes(piece)


def give(files: Store, id: str) -> Response:
    file = files.get(id)
    if file is None:
        raise Problem.not_found()

    async def body() -> AsyncIterator[bytes]:
        pieces = Store("pieces")
        number = 0
        while (piece := pieces.get_bytes(key(id, number))) is not None:
            # Waits until the client has taken it.
            yield piece
            number += 1

    headers = {
        "content-length": str(file["bytes"]),
        # So that no browser runs what somebody has uploaded.
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    return Response.stream(body(), file["media_type"], headers=headers)
