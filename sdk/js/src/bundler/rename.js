// Outgoing calls are those of `wasi:http` 0.2, and a middleware's next handler is that of 0.3. While a
// component is made, componentize-qjs runs it with WASI of its own, whose streams are not those of
// an interface that it does not have, and it has no stand-in for an async function. So the worlds
// call these packages `hmsi:http` and `hmsi:io`, which it has nothing of, and the next handler is
// not async there. Here they become what they are. The new names are as long as the old ones, so
// nothing else changes.

/** How the type of `handle: func(request: …)` begins in a component, and the same of an async one. */
const SYNC = Buffer.from([0x40, 1, 7, ...Buffer.from("request")]);
const ASYNC = 0x43;

/** The component with the names of the standard. */
export function renamed(component) {
  const text = Buffer.from(component);
  if (text.includes("hmsi:http/handler@")) {
    const places = all(text, SYNC);
    if (places.length === 0) throw new Error("the type of the next handler is not where it was");
    for (const at of places) text[at] = ASYNC;
  }
  for (const name of ["http", "io"]) {
    const [from, to] = [Buffer.from(`hmsi:${name}/`), Buffer.from(`wasi:${name}/`)];
    for (const at of all(text, from)) to.copy(text, at);
  }
  return text;
}

/** Where `part` is in `text`. */
function all(text, part) {
  const places = [];
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) places.push(at);
  return places;
}
