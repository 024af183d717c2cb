// Where the author's lines are in the bundle, so that an error names them.
import { decode } from "@jridgewell/sourcemap-codec";
import { isAbsolute, relative, resolve } from "node:path";

/** `at[LINE - 1]` is `[index of the file, line]`, or 0 for a line that is not the author's. */
export function linesOf(map, root) {
  const lines = { files: [], sources: [], at: [] };
  const indices = map.sources.map((source, index) => {
    const path = isAbsolute(source) ? source : resolve(source);
    const here = relative(process.cwd(), path);
    const isAuthors = !path.startsWith(`${root.replace(/\/$/, "")}/src/`) && !/(^|\/)node_modules\//.test(path)
      && !path.endsWith("hms-window-entry.js") && !source.includes("hms-window:") && !source.includes("hms-site:");
    if (!isAuthors) return -1;
    lines.sources.push((map.sourcesContent?.[index] ?? "").split("\n"));
    return lines.files.push(here.startsWith("..") ? path : here) - 1;
  });
  for (const segments of decode(map.mappings)) {
    const found = segments.find((segment) => segment.length > 1 && indices[segment[1]] >= 0);
    lines.at.push(found ? [indices[found[1]], found[2] + 1] : 0);
  }
  return lines;
}

/** The message of an error while the modules were run at the build, with the author's lines. */
export function mapped(message, lines) {
  const text = message.replace(/^.*Failed to finish JavaScript module evaluation: /s, "");
  return text.split("\n").filter((line) => line.trim() !== "").map((line) => {
    const found = /^\s*at (.*?) ?\(?([^() ]*):(\d+):(\d+)\)?$/.exec(line);
    const at = found && lines.at[Number(found[3]) - 1];
    if (!at) return line;
    return `    at ${found[1] || "<module>"} (${lines.files[at[0]]}:${at[1]})`;
  }).join("\n");
}
