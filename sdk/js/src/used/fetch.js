// The global `fetch`, where a module uses it.
export { fetch } from "../fetch.js";
