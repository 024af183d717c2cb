// Conditional requests: RFC 9110, section 13, by entity tags.
import { Problem } from "./problem.js";

/** An entity tag of any text: what a tag cannot contain is percent-encoded. */
export function entityTag(text) {
  return `"${encodeURIComponent(String(text))}"`;
}

/** Whether the client has it already: 304. 412 where a condition fails. `tag` is null for nothing. */
export function notModified(request, tag) {
  const reads = request.method === "GET" || request.method === "HEAD";
  const match = tagsOf(request.headers.get("if-match"), !reads);
  if (match !== null && !has(match, tag, (one) => one === tag && !one.startsWith("W/"))) throw failed("if-match");
  const none = tagsOf(request.headers.get("if-none-match"), !reads);
  if (none === null || !has(none, tag, (one) => weak(one) === weak(tag))) return false;
  if (!reads) throw failed("if-none-match");
  return true;
}

/** Whether a range is of what the client has a part of (`If-Range`). */
export function sameRange(request, tag) {
  const value = request.headers.get("if-range");
  return value === null || (value.trim() === tag && !tag.startsWith("W/"));
}

function has(tags, tag, fits) {
  return tag !== null && (tags === "*" || tags.some(fits));
}

function weak(tag) {
  return tag.replace(/^W\//, "");
}

function failed(field) {
  return new Problem(412, "precondition-failed", `it is not as '${field}' says: read it again`);
}

/** The tags of a field, `*`, or null where it is not there. A list that cannot be read names nothing. */
function tagsOf(value, changes) {
  if (value === null) return null;
  if (value.trim() === "*") return "*";
  const tags = [];
  let rest = value;
  while ((rest = rest.replace(/^[\s,]+/, "")) !== "") {
    const found = /^(?:W\/)?"[\x21\x23-\x7e\x80-\uffff]*"(?=\s*(?:,|$))/.exec(rest);
    if (found) {
      tags.push(found[0]);
      rest = rest.slice(found[0].length);
      continue;
    }
    if (changes) throw Problem.badRequest("a condition of the request is not a list of entity tags");
    rest = rest.includes(",") ? rest.slice(rest.indexOf(",")) : "";
  }
  return tags;
}
