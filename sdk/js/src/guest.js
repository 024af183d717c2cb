// What the build puts around the author's module.
import "./web/globals.js";
import { withLines } from "./explained.js";
export { serve } from "./serve.js";
export { window } from "./window.js";

// The end of the bundle calls it: only then it is known where the lines are.
globalThis.__hmsWindowLines = (lines) => {
  delete globalThis.__hmsWindowLines;
  withLines(lines);
};
