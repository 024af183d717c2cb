// Static sites: files that are in the component.
import { notModified, sameRange } from "../conditional.js";
import { Problem } from "../problem.js";
import { Response } from "../web/response.js";

const CSP = "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/** What a client may keep for a year, and what it asks about each time. */
const IMMUTABLE = "public, max-age=31536000, immutable";
const ASK = "no-cache";
/** What the gateway may store (RFC 9213). It drops it with the release. */
const GATEWAY = "public, max-age=31536000";

/** Answers with the files of `import files from "site:…"`. */
export function site(files, { singlePage = false, csp = CSP } = {}) {
  return (request) => answer(files, request, singlePage, csp);
}

function answer(files, request, singlePage, csp) {
  if (request.method !== "GET") throw Problem.methodNotAllowed("GET, HEAD");
  const name = request.segments.join("/");
  const isFolder = name === "" || name.endsWith("/");
  const index = isFolder ? `${name}index.html` : `${name}/index.html`;
  const found = isFolder ? index : name;
  if (files.has(found)) {
    const response = give(request, files.get(found), 200, csp);
    response.headers.set("hms-cache-control", GATEWAY);
    return response;
  }
  if (!isFolder && files.has(index)) {
    const query = request.query === "" ? "" : `?${request.query}`;
    const location = `${request.publicPath(`${request.path}/`)}${query}`;
    return new Response(null, { status: 308, headers: { location } });
  }
  const [page, status] = singlePage && isNavigation(request) ? ["index.html", 200] : ["404.html", 404];
  if (!files.has(page)) throw Problem.notFound();
  return give(request, files.get(page), status, csp);
}

function give(request, file, status, csp) {
  const ranges = request.headers.raw().filter(([name]) => name === "range");
  // HEAD knows no ranges (RFC 9110, section 14.2), and several fields are none.
  let range = ranges.length === 1 && !request.isHead && status === 200 ? ranges[0][1] : null;
  // A part is a part of the file as it is.
  const coding = range === null ? codingOf(request, file) : "plain";
  const etag = `"${file.tag}${{ br: "-br", gzip: "-gz", plain: "" }[coding]}"`;
  const headers = {
    etag,
    "cache-control": file.hashed ? IMMUTABLE : ASK,
    "accept-ranges": "bytes",
    "x-content-type-options": "nosniff",
  };
  if (file.br !== null || file.gzip !== null) headers.vary = "accept-encoding";
  if (/^(text\/html|image\/svg)/.test(file.media)) headers["content-security-policy"] = csp;
  if (status === 200 && notModified(request, etag)) return new Response(null, { status: 304, headers });
  if (range !== null && !sameRange(request, etag)) range = null;
  let bytes = file[coding];
  const part = range === null ? undefined : partOf(range, bytes.length);
  if (part === null) {
    headers["content-range"] = `bytes */${bytes.length}`;
    return new Response(null, { status: 416, headers });
  }
  if (part !== undefined) {
    headers["content-range"] = `bytes ${part[0]}-${part[1] - 1}/${bytes.length}`;
    bytes = bytes.subarray(...part);
    status = 206;
  }
  headers["content-type"] = file.media;
  if (coding !== "plain") headers["content-encoding"] = coding;
  return new Response(bytes, { status, headers });
}

/** The smallest coding that is there and that the client accepts. */
function codingOf(request, file) {
  const items = (request.headers.get("accept-encoding") ?? "").toLowerCase().split(",");
  const accepts = (name) => {
    const parts = items.map((item) => item.split(";").map((part) => part.trim()));
    const said = parts.find(([coding]) => coding === name) ?? parts.find(([coding]) => coding === "*");
    return said !== undefined && !said.slice(1).some((part) => /^q=0(\.0*)?$/.test(part));
  };
  return ["br", "gzip"].find((name) => file[name] !== null && accepts(name)) ?? "plain";
}

/** From where to where; undefined for all of it, and null for nothing (RFC 9110, section 14). */
function partOf(range, size) {
  const found = /^\s*bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*$/i.exec(range);
  if (!found || (found[1] === "" && found[2] === "")) return undefined;
  const [first, last] = [found[1], found[2]].map((text) => (text === "" ? null : Number(text)));
  if (first !== null && last !== null && first > last) return undefined;
  const from = first ?? Math.max(size - last, 0);
  const to = first === null || last === null ? size : Math.min(last + 1, size);
  return from < to ? [from, to] : null;
}

/** Whether a person goes to a page: something that wants HTML, and no file by its name. */
function isNavigation(request) {
  const types = (request.headers.get("accept") ?? "").split(",").map((type) => type.split(";")[0].trim().toLowerCase());
  return types.includes("text/html") && !request.segments.at(-1).includes(".");
}
