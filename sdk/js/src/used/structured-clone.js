// The global `structuredClone`, where a module uses it.
export { default as structuredClone } from "core-js-pure/web/structured-clone.js";
