// Outgoing calls are those of `wasi:http` 0.2. While a component is made, componentize-qjs runs it with
// WASI of its own, whose streams are not those of an interface that it does not have. So the world calls
// these packages `hmsi:http` and `hmsi:io`, which it has nothing of, and here they get their names. The
// new name is as long as the old one, so nothing else in the component changes.

/** The component with the names of the standard. */
export function renamed(component) {
  const text = Buffer.from(component);
  for (const name of ["http", "io"]) {
    const [from, to] = [Buffer.from(`hmsi:${name}/`), Buffer.from(`wasi:${name}/`)];
    for (let at = text.indexOf(from); at >= 0; at = text.indexOf(from, at)) to.copy(text, at);
  }
  return text;
}
