// `hms-window-build src/index.js -o dist/NAME.wasm`: a component of a window in JavaScript or
// TypeScript.
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle, BuildError } from "./bundle.js";
import { mapped } from "./lines.js";
import { renamed } from "./rename.js";
import { withSdk } from "./sdk.js";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
const USAGE = "usage: hms-window-build SOURCE -o NAME.wasm [--opt-size]";

/** The command line: its exit status. */
export async function main(args) {
  let parsed;
  try {
    const options = { output: { type: "string", short: "o" }, "opt-size": { type: "boolean" } };
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (positionals.length !== 1 || !values.output) {
    console.error(USAGE);
    return 2;
  }
  const [source] = positionals;
  try {
    await build(source, values.output, { optSize: values["opt-size"] ?? false });
    return 0;
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(`${source} was not built: ${error.message}`);
    return 1;
  }
}

/** Makes the component `output` of the module `source`. */
export async function build(source, output, { optSize = false } = {}) {
  if (!existsSync(source)) throw new BuildError(`there is no file ${source}`);
  const { code, lines, uses } = await bundle(PACKAGE, resolve(source));
  const folder = await mkdtemp(join(tmpdir(), "hms-window-"));
  try {
    const wit = join(folder, "wit");
    await witInto(wit, uses);
    const options = { jsSource: code, witPath: wit, world: "used", optSize };
    const component = await componentized(options, lines);
    await mkdir(dirname(output), { recursive: true });
    await writeFile(`${output}.part`, component);
    await rename(`${output}.part`, output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const size = ((await stat(output)).size / 1e6).toFixed(1);
  const does = {
    calls: "makes calls",
    events: "emits events",
    spans: "names parts of its work",
    chain: "is a middleware",
  };
  console.log([`${output}: ${size} MB`, ...uses.map((use) => does[use])].join(", "));
}

async function componentized(options, lines) {
  let componentize;
  try {
    ({ componentize } = await import("componentize-qjs"));
  } catch (error) {
    throw new BuildError(`componentize-qjs cannot be loaded; run 'npm install': ${error.message}`);
  }
  try {
    const made = renamed((await componentize(options)).component);
    return withSdk(made, JSON.parse(await readFile(join(PACKAGE, "package.json"), "utf8")));
  } catch (error) {
    throw new BuildError(mapped(error.message, lines));
  }
}

/** All texts that the worlds of `wit/world.wit` name, and the world of what is used. */
async function witInto(folder, uses) {
  const copied = join(PACKAGE, "wit/hms");
  const hms = existsSync(copied) ? copied : join(PACKAGE, "../../wit");
  await cp(join(hms, "deps"), join(folder, "deps"), { recursive: true });
  await mkdir(join(folder, "deps/hms-window"));
  await cp(join(hms, "window.wit"), join(folder, "deps/hms-window/window.wit"));
  for (const name of ["http", "io"]) {
    const at = join(folder, "deps", `preview2-${name}`);
    await mkdir(at);
    await cp(join(PACKAGE, `wit/preview2/${name}.wit`), join(at, `${name}.wit`));
  }
  await mkdir(join(folder, "deps/next"));
  await cp(join(PACKAGE, "wit/next.wit"), join(folder, "deps/next/next.wit"));
  await cp(join(PACKAGE, "wit/world.wit"), join(folder, "world.wit"));
  const included = ["window", ...uses].map((world) => `  include ${world};\n`).join("");
  await writeFile(join(folder, "used.wit"), `package hms:js;\n\nworld used {\n${included}}\n`);
}
