/**
 * The licences of everything that is bundled into the page: `node licences.mjs OUT`.
 *
 * Goes through the dependencies of package.json, and theirs, and writes each one's name, version and licence text.
 * A package without a licence text, or with a licence that is not on the list below, stops the build.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { argv } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Licences under which a package may be bundled. */
const ALLOWED = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Zlib"];

const MIT = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

const ISC = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby
granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.`;

/** Packages whose archive on npm has no licence text: that of their repository. */
const MISSING = {
  "onnxruntime-common": `MIT License\n\nCopyright (c) Microsoft Corporation\n\n${MIT}`,
  "onnxruntime-web":
    `MIT License\n\nCopyright (c) Microsoft Corporation\n\n${MIT}\n\n` +
    "The notices of the software inside ONNX Runtime itself are in the file ThirdPartyNotices.txt of its repository:\n" +
    "https://github.com/microsoft/onnxruntime/blob/vVERSION/ThirdPartyNotices.txt",
  "guid-typescript": `ISC License\n\nBy nicolas, as its package.json says; it names no other author.\n\n${ISC}`,
};

/** The package.json in a folder. */
function described(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

/** Where Node would find a package that is asked for from a folder. */
function folderOf(name, from, top) {
  for (let place = from; ; place = dirname(place)) {
    const folder = join(place, "node_modules", name);
    if (existsSync(join(folder, "package.json"))) return folder;
    if (place === top || place === dirname(place)) throw new Error(`${name} is not installed`);
  }
}

/** Every bundled package: {name, version, folder, ...}, sorted by name. */
function bundled(top) {
  const found = new Map();
  const waiting = Object.keys(described(top).dependencies ?? {}).map((name) => [name, top]);
  while (waiting.length > 0) {
    const [name, from] = waiting.pop();
    if (name.startsWith("@types/")) continue;
    const folder = folderOf(name, from, top);
    if (found.has(folder)) continue;
    const it = described(folder);
    found.set(folder, { name, version: it.version, licence: it.license, folder });
    waiting.push(...Object.keys(it.dependencies ?? {}).map((next) => [next, folder]));
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** The licence text of a package, with its notices. */
function textOf({ name, version, folder }) {
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").replace(/\r\n/g, "\n").trim());
  if (texts.length > 0) return texts.join("\n\n");
  const text = MISSING[name];
  if (!text) throw new Error(`${name} ${version} has no licence text; look it up and add it to licences.mjs`);
  return text.replace("VERSION", version);
}

/** Writes the licences of what `top` bundles to the file `out`. */
export function writeLicences(top, out) {
  const packages = bundled(top);
  for (const { name, licence } of packages) {
    if (!ALLOWED.includes(licence)) throw new Error(`${name} has the licence ${licence}, which is not on the list`);
  }
  const parts = packages.map((it) => `${it.name} ${it.version} (${it.licence})\n\n${textOf(it)}\n`);
  const head = `The explorer's page contains these ${packages.length} packages, each under its own licence.\n`;
  writeFileSync(out, [head, ...parts].join(`\n${"-".repeat(100)}\n\n`));
}

if (argv[1] && import.meta.url === pathToFileURL(resolve(argv[1])).href) {
  if (!argv[2]) throw new Error("usage: node licences.mjs OUT");
  writeLicences(dirname(fileURLToPath(import.meta.url)), resolve(argv[2]));
}
