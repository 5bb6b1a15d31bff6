/**
 * Builds the page and the notebook widget: `node build.mjs [OUT]`, by default into the Python package.
 *
 * OUT gets index.html, assets/app.js, assets/ort.wasm, widget.js and licenses.txt.
 */
import { cp, mkdir, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { writeLicences } from "./licences.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? resolve(here, "../src/zatlas/explorer/static"));
const quiet = { root: here, configFile: resolve(here, "vite.config.mjs"), logLevel: "warn" };

await rm(resolve(out, "assets"), { recursive: true, force: true });
await build({
  ...quiet,
  build: {
    outDir: out,
    emptyOutDir: false,
    rollupOptions: { output: { entryFileNames: "assets/app.js", assetFileNames: "assets/[name][extname]" } },
  },
});
await build({
  ...quiet,
  build: {
    outDir: out,
    emptyOutDir: false,
    copyPublicDir: false,
    lib: { entry: resolve(here, "src/widget.ts"), formats: ["es"], fileName: () => "widget.js" },
  },
});
await mkdir(resolve(out, "assets"), { recursive: true });
await cp(
  resolve(here, "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"),
  resolve(out, "assets/ort.wasm"),
);
await writeLicences(here, resolve(out, "licenses.txt"));
