/** Where the author's lines are in the bundle: set by the build. */
let lines = { files: [], sources: [], at: [] };

export function withLines(known) {
  lines = known;
}

/** An error for the log: what it is, the author's lines first, then how it came there. */
export function explained(error) {
  if (!(error instanceof Error)) return `thrown: ${JSON.stringify(error) ?? String(error)}`;
  const ours = [];
  const others = [];
  for (const line of (error.stack ?? "").split("\n")) {
    const found = /^\s*at (.*?) ?\(?([^() ]*):(\d+):(\d+)\)?$/.exec(line);
    if (!found) continue;
    const [, name, , row] = found;
    const at = lines.at[Number(row) - 1];
    if (!at) {
      others.push(`  ${line.trim()}`);
      continue;
    }
    const [file, number] = at;
    const source = lines.sources[file]?.[number - 1]?.trim();
    const inside = name && name !== "<anonymous>" ? ` in ${name}` : "";
    ours.push(`  ${lines.files[file]}:${number}${inside}${source ? `: ${source}` : ""}`);
  }
  const text = [`${error.name}: ${error.message}`, ...ours, ...(ours.length ? [] : others)].join("\n");
  return error.cause === undefined ? text : `${text}\nbecause of ${explained(error.cause)}`;
}
