/** A window of a function, or of an object with `fetch`: what a module exports as its default. */
export function window(handler) {
  const fetch = typeof handler === "function" ? handler : handler?.fetch?.bind(handler);
  if (typeof fetch !== "function") {
    throw new TypeError("a window is a function from a request to a response, or { fetch(request) }");
  }
  return { fetch };
}
