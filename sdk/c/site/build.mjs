// Makes C of the files of a folder, for hms_site.h: node build.mjs FOLDER OUT.c
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { filesOf } from "./files.js";

const [folder, out] = process.argv.slice(2);
const parts = join(dirname(out), "site");
rmSync(parts, { recursive: true, force: true });
mkdirSync(parts, { recursive: true });
let count = 0;

/** The C text of bytes: an array's name and its size. */
function embedded(bytes, lines) {
  if (bytes === null) return "{0, 0}";
  const name = `part_${count++}`;
  writeFileSync(join(parts, name), bytes);
  lines.push(`static const unsigned char ${name}[] = {\n#embed "site/${name}" if_empty(0)\n};`);
  return `{${name}, ${bytes.length}}`;
}

const text = (value) => JSON.stringify(value).replace(/\?/g, "\\?");
const lines = [
  "/* Made by site/build.mjs: the files of the site. */",
  "#include <hms_site.h>",
  // Clang knows #embed in C17 too.
  '#pragma clang diagnostic ignored "-Wc23-extensions"',
];
const files = filesOf(folder).map(({ name, media, tag, hashed, plain, br, gzip }) => {
  const forms = [plain, br, gzip].map((bytes) => embedded(bytes, lines)).join(", ");
  return `    {${text(name)}, ${text(media)}, ${text(tag)}, ${hashed}, ${forms}},`;
});
lines.push("static const hms_file files[] = {", ...files, "};");
lines.push(`const hms_files hms_site_files = {files, ${files.length}};`);
writeFileSync(out, `${lines.join("\n")}\n`);
