// One module of the author's, of what it imports, and of this package.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { linesOf } from "./lines.js";
import { siteModule } from "./site.js";

/** Why there is no component, and what to do. */
export class BuildError extends Error {}

const CALLS = `
import handler from "hmsi:http/outgoing-handler@0.2.0";
import types from "hmsi:http/types@0.2.0";
import poll from "hmsi:io/poll@0.2.0";
export default { handler, types, poll };`;

const TRANSACTIONS = `
export { default } from "hms:store/transactions@0.1.0";`;

const SPANS = `
export { default } from "hms:telemetry/spans@0.1.0";`;

const CHAIN = `
export { default } from "hmsi:http/handler@0.3.0";`;

/** What a component imports only if its source uses it, each by the module that shows it. */
const USES = {
  calls: "src/fetch.js",
  events: "src/transaction.js",
  spans: "src/span.js",
  chain: "src/middleware.js",
};

/** The bundle of `source`, where the author's lines are in it, and which imports it needs. */
export async function bundle(root, source) {
  const all = await bundled(root, source, Object.keys(USES));
  const uses = Object.keys(USES).filter((use) => all.included.has(join(root, USES[use])));
  const { code, map } = await bundled(root, source, uses);
  const lines = linesOf(map, root);
  return { code: `${code}\nglobalThis.__hmsWindowLines(${JSON.stringify(lines)});\n`, lines, uses };
}

async function bundled(root, source, uses) {
  let esbuild;
  try {
    esbuild = await import("esbuild");
  } catch (error) {
    throw new BuildError(`esbuild cannot be loaded; run 'npm install': ${error.message}`);
  }
  const guest = join(root, "src/guest.js");
  const entry = `
    import { serve, window } from ${JSON.stringify(guest)};
    import app from ${JSON.stringify(source)};
    const served = window(app);
    export const handler = { handle: async (request) => serve(served, request) };`;
  try {
    const result = await esbuild.build({
      stdin: { contents: entry, resolveDir: root, sourcefile: "hms-window-entry.js" },
      bundle: true,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["hms-window", "worker", "browser", "import", "default"],
      target: "es2023",
      external: ["wasi:*", "hms:*", "hmsi:*"],
      inject: ["fetch", "url", "structured-clone"].map((name) => join(root, `src/used/${name}.js`)),
      plugins: [imports(root, uses)],
      define: { "process.env.NODE_ENV": '"production"' },
      sourcemap: "external",
      outfile: "window.js",
      absWorkingDir: process.cwd(),
      write: false,
      metafile: true,
      logLevel: "silent",
      charset: "utf8",
    });
    const [output] = Object.values(result.metafile.outputs).filter(({ inputs }) => inputs && Object.keys(inputs).length);
    const included = Object.entries(output.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
    const text = (end) => result.outputFiles.find(({ path }) => path.endsWith(end)).text;
    return {
      code: text("window.js"),
      map: JSON.parse(text("window.js.map")),
      included: new Set(included.map(([path]) => resolve(path))),
    };
  } catch (error) {
    if (!Array.isArray(error.errors)) throw error;
    if (error.errors.some(({ text }) => /No matching export .* for import "default"/.test(text))) {
      throw new BuildError("it has no default export: write 'export default window(…)'");
    }
    const formatted = await esbuild.formatMessages(error.errors, { kind: "error", color: false });
    throw new BuildError(formatted.join("").trim());
  }
}

/** What `host.js` imports of the host only where it is used, and this package itself. */
function imports(root, uses) {
  const sources = {
    "hms-window:calls": uses.includes("calls") ? CALLS : "export default undefined;",
    "hms-window:spans": uses.includes("spans") ? SPANS : "export default undefined;",
    "hms-window:transactions": uses.includes("events") ? TRANSACTIONS : "export default undefined;",
    "hms-window:chain": uses.includes("chain") ? CHAIN : "export default undefined;",
  };
  return {
    name: "hms-window",
    setup(build) {
      build.onResolve({ filter: /^hms-window:/ }, ({ path }) => ({ path, namespace: "hms-window", sideEffects: false }));
      build.onLoad({ filter: /.*/, namespace: "hms-window" }, ({ path }) => ({ contents: sources[path] }));
      build.onResolve({ filter: /^site:/ }, ({ path, resolveDir }) => {
        const folder = resolve(resolveDir, path.slice("site:".length));
        if (!existsSync(folder)) return { errors: [{ text: `there is no folder ${folder}: build the site first` }] };
        return { path: folder, namespace: "hms-site" };
      });
      build.onLoad({ filter: /.*/, namespace: "hms-site" }, ({ path }) => {
        try {
          return { contents: siteModule(root, path), resolveDir: root };
        } catch (error) {
          return { errors: [{ text: error.message }] };
        }
      });
      // One copy, whatever the author's `node_modules` has: both have the same classes.
      build.onResolve({ filter: /^@hms-svc\/window$/ }, () => ({ path: join(root, "src/index.js"), sideEffects: false }));
    },
  };
}
