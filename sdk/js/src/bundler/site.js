// `import files from "site:./dist"`: the files of a folder in the component, compressed when it is
// built.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

/** Bytes of all files of a site. 8 MiB: they are in the memory of each instance, three times over. */
const MAX_BYTES = 8 << 20;

/** What browsers are sent, by the end of the name. Those with `!` are compressed already. */
const MEDIA = {
  avif: "!image/avif", css: "text/css; charset=utf-8", csv: "text/csv; charset=utf-8", gif: "!image/gif",
  htm: "text/html; charset=utf-8", html: "text/html; charset=utf-8", ico: "image/x-icon", jpeg: "!image/jpeg",
  jpg: "!image/jpeg", js: "text/javascript; charset=utf-8", json: "application/json", map: "application/json",
  md: "text/markdown; charset=utf-8", mjs: "text/javascript; charset=utf-8", mp3: "!audio/mpeg", mp4: "!video/mp4",
  ogg: "!audio/ogg", otf: "font/otf", pdf: "!application/pdf", png: "!image/png", svg: "image/svg+xml",
  ttf: "font/ttf", txt: "text/plain; charset=utf-8", wasm: "application/wasm", webm: "!video/webm",
  webmanifest: "application/manifest+json", webp: "!image/webp", woff: "!font/woff", woff2: "!font/woff2",
  xml: "application/xml", zip: "!application/zip",
};

/** The module of a folder: what `src/site/site.js` answers with. */
export function siteModule(root, folder) {
  const base64 = (bytes) => (bytes === null ? null : bytes.toString("base64"));
  const files = filesOf(folder).map(({ name, media, tag, hashed, plain, br, gzip }) =>
    [name, media, tag, hashed, ...[plain, br, gzip].map(base64)]);
  const module = JSON.stringify(join(root, "src/site/files.js"));
  return `import { unpacked } from ${module};\nexport default unpacked(${JSON.stringify(files)});`;
}

/** The files of a folder, with their compressed forms where these are smaller. */
export function filesOf(folder) {
  let total = 0;
  return namesOf(folder).map((name) => {
    const plain = readFileSync(join(folder, name));
    total += plain.length;
    if (total > MAX_BYTES) throw new Error(`${folder} has more than 8 MiB, which each instance has in its memory`);
    const media = MEDIA[name.split(".").at(-1).toLowerCase()] ?? "application/octet-stream";
    const tag = createHash("sha256").update(plain).digest("hex").slice(0, 16);
    const smaller = (packed) => (packed.length < plain.length ? packed : null);
    const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
    const [br, gzip] = media.startsWith("!") ? [null, null]
      : [smaller(brotliCompressSync(plain, quality)), smaller(gzipSync(plain, { level: 9 }))];
    return { name, media: media.replace("!", ""), tag, hashed: isHashed(name), plain, br, gzip };
  });
}

/** All files below a folder but the hidden ones. */
function namesOf(folder, prefix = "") {
  const below = (name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? namesOf(path, `${prefix}${name}/`) : [prefix + name];
  };
  const names = readdirSync(folder).filter((name) => !name.startsWith(".") || name === ".well-known");
  return names.sort().flatMap(below);
}

/** Whether a name has a hash of the content, as bundlers name what they make; in doubt it has none. */
export function isHashed(name) {
  const found = /^(.+)\.([^.]+)$/.exec(name.split("/").at(-1));
  if (!found || /^html?$/.test(found[2])) return false;
  const stem = found[2] === "map" ? found[1].replace(/\.[^.]+$/, "") : found[1];
  const isHex = (text) => /^[0-9a-f]{8,}$/.test(text) && /[0-9]/.test(text) && /[a-f]/.test(text);
  const isMixed = (text) =>
    /^[A-Za-z0-9_-]{8}$/.test(text) && /[0-9]/.test(text) && /[A-Z]/.test(text) && /[a-z]/.test(text);
  const byDot = stem.includes(".") ? stem.split(".").at(-1) : "";
  const byHyphen = stem.length > 9 && stem.at(-9) === "-" ? stem.slice(-8) : "";
  const last = stem.includes("-") ? stem.split("-").at(-1) : "";
  return isHex(byDot) || isMixed(byDot) || isMixed(byHyphen) || isHex(last);
}
