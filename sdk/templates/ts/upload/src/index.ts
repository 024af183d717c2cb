// The window {{name}}: files of any size, which are never in memory as a whole, and which their
// owner alone sees.
//
//     POST /{{name}}        the bytes  ->  201 {"id", "bytes", "mediaType"}
//     GET  /{{name}}        {"files": […], "next"}       ?cursor=, the oldest first
//     GET  /{{name}}/{id}   the bytes, as they came
import { newId, Problem, Store, window, type WindowRequest } from "@hms-svc/window";

/** What is known of a file. It is written last: a file without it is none. */
interface File {
  id: string;
  bytes: number;
  mediaType: string;
}

/** Bytes of a file under one key. 1 MiB: a value may have 4 MiB, and an instance's memory is small. */
const PIECE = 1 << 20;

/** The largest file. 1 GiB. */
const MAX_BYTES = 1 << 30;

/** Files in one list. */
const PAGE = 50;

export default window(async (request) => {
  // Each user's own part of the store: another user's files do not exist for them.
  const files = request.caller().store("files");
  const [, id, ...more] = request.segments;
  if (more.length > 0) throw Problem.notFound();
  if (id === undefined) {
    if (request.method === "POST") return take(request, files);
    if (request.method === "GET") return list(request, files);
    throw Problem.methodNotAllowed("GET, HEAD, POST");
  }
  if (request.method === "GET") return give(files, id);
  throw Problem.methodNotAllowed("GET, HEAD");
});

const key = (id: string, number: number) => `${id}/${String(number).padStart(8, "0")}`;

function list(request: WindowRequest, files: Store): Response {
  const page = files.page({ cursor: request.param("cursor"), limit: PAGE });
  return Response.json({ files: files.getMany<File>(page.keys).filter(Boolean), next: page.next });
}

async function take(request: WindowRequest, files: Store): Promise<Response> {
  const pieces = new Store("pieces");
  const id = newId();
  let [number, bytes] = [0, 0];
  const keep = (piece: Uint8Array) => pieces.setBytes(key(id, number++), piece);
  try {
    for await (const piece of inPieces((request.body ?? []) as AsyncIterable<Uint8Array>)) {
      bytes += piece.length;
      if (bytes > MAX_BYTES) throw Problem.tooLarge(MAX_BYTES);
      keep(piece);
    }
    const mediaType = request.headers.get("content-type") ?? "application/octet-stream";
    // What is known of a file is written last: a file without it is none.
    const file: File = { id, bytes, mediaType };
    files.set(id, file);
    const location = request.publicPath(`/{{name}}/${id}`);
    return Response.json(file, { status: 201, headers: { location } });
  } catch (error) {
    // Nobody will ever ask for them.
    for (let at = 0; at < number; at++) pieces.delete(key(id, at));
    throw error;
  }
}

/** Chunks, put together to pieces of one size. */
async function* inPieces(chunks: AsyncIterable<Uint8Array>) {
  let piece = new Uint8Array(PIECE);
  let length = 0;
  for await (let chunk of chunks) {
    while (chunk.length > 0) {
      const part = chunk.subarray(0, PIECE - length);
      piece.set(part, length);
      length += part.length;
      chunk = chunk.subarray(part.length);
      if (length === PIECE) {
        yield piece;
        length = 0;
      }
    }
  }
  if (length > 0) yield piece.subarray(0, length);
}

function give(files: Store, id: string): Response {
  const file = files.get<File>(id);
  if (file === undefined) throw Problem.notFound();
  const pieces = new Store("pieces");
  async function* body() {
    for (let number = 0; ; number++) {
      const piece = pieces.getBytes(key(id, number));
      if (piece === undefined) return;
      // Waits until the client has taken it.
      yield piece;
    }
  }
  return new Response(body(), {
    headers: {
      "content-type": file.mediaType,
      "content-length": String(file.bytes),
      // So that no browser runs what somebody has uploaded.
      "content-disposition": "attachment",
      "x-content-type-options": "nosniff",
    },
  });
}
