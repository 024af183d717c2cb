// Copies the WIT of the repository into the package: npm packs no links. With --remove it goes
// again: a copy that is there is used, and would grow old.
import { cpSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const to = fileURLToPath(new URL("../wit/hms", import.meta.url));
const from = fileURLToPath(new URL("../../../wit", import.meta.url));
rmSync(to, { recursive: true, force: true });
if (!process.argv.includes("--remove")) {
  for (const name of ["window.wit", "deps"]) cpSync(`${from}/${name}`, `${to}/${name}`, { recursive: true });
}
