// The window {{name}}: notes, which their owner alone sees.
//
//     POST   /{{name}}        {"title", "text"}  ->  201 {"id", "version", "title", "text"}
//     GET    /{{name}}        {"notes": […], "next"}     ?limit=&cursor=, the oldest first
//     GET    /{{name}}/{id}   with an entity tag
//     PUT    /{{name}}/{id}   If-Match: the tag that was read, so that no change is lost
//     DELETE /{{name}}/{id}   the same
import { entityTag, newId, Problem, transaction, window } from "@hms-svc/window";

/** Notes in one answer: what a client gets unasked, and the most it can ask for. */
const PAGE = 20;
const PAGE_MAX = 100;

/** The longest title, in characters. */
const MAX_TITLE = 200;

export default window(async (request) => {
  // Each user's own part of the store: another user's notes do not exist for them.
  const notes = request.caller().store("notes");
  const [, id, ...more] = request.segments;
  if (more.length > 0) throw Problem.notFound();
  if (id === undefined) {
    if (request.method === "POST") return create(request, notes);
    if (request.method === "GET") return list(request, notes);
    throw Problem.methodNotAllowed("GET, HEAD, POST");
  }
  switch (request.method) {
    case "GET":
      return show(request, found(notes.get(id)));
    case "PUT":
      return replace(request, notes, id);
    case "DELETE":
      return remove(request, notes, id);
    default:
      throw Problem.methodNotAllowed("GET, HEAD, PUT, DELETE");
  }
});

async function create(request, notes) {
  // Ids are in the order of time, and so are keys.
  const note = { id: newId(), version: 1, ...read(await request.json()) };
  notes.set(note.id, note);
  const location = request.publicPath(`/{{name}}/${note.id}`);
  return answer(note, 201, { location });
}

function list(request, notes) {
  const limit = Math.min(Math.max(request.number("limit", PAGE), 1), PAGE_MAX);
  const page = notes.page({ cursor: request.param("cursor"), limit });
  return Response.json({ notes: notes.getMany(page.keys).filter(Boolean), next: page.next });
}

function show(request, note) {
  const headers = { etag: entityTag(note.version) };
  return request.notModified(note.version) ? new Response(null, { status: 304, headers }) : answer(note);
}

async function replace(request, notes, id) {
  const form = read(await request.json());
  // Check and change are one step: if another request was faster, both run again.
  const note = notes.update(id, (old) => {
    const { version } = found(old);
    request.notModified(version);
    return { id, version: version + 1, ...form };
  });
  return answer(note);
}

function remove(request, notes, id) {
  transaction((tx) => {
    request.notModified(found(tx.get(notes, id)).version);
    tx.delete(notes, id);
  });
  return new Response(null, { status: 204 });
}

function answer(note, status = 200, headers = {}) {
  return Response.json(note, { status, headers: { ...headers, etag: entityTag(note.version) } });
}

function found(note) {
  if (note === undefined) throw Problem.notFound();
  return note;
}

function read(form) {
  const { title, text = "" } = form ?? {};
  if (typeof title !== "string" || title.trim() === "" || title.length > MAX_TITLE) {
    throw Problem.badRequest(`'title' must have 1 to ${MAX_TITLE} characters`);
  }
  if (typeof text !== "string") throw Problem.badRequest("'text' is not a string");
  return { title, text };
}
