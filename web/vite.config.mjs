/** How the page is put together: one script, its worker inside it, the WebAssembly of ONNX Runtime beside it. */
import { defineConfig } from "vite";

/** The page hands the WebAssembly over itself; the file that the library points at must not be packed a second time. */
const wasmComesFromThePage = {
  name: "wasm-comes-from-the-page",
  enforce: "pre",
  transform(code, id) {
    if (!id.includes("onnxruntime-web")) return null;
    return code.replace(/new URL\("ort-wasm-simd-threaded\.wasm",\s*import\.meta\.url\)/g, 'new URL("data:,")');
  },
};

export default defineConfig({
  base: "./",
  plugins: [wasmComesFromThePage],
  worker: { format: "iife", plugins: () => [wasmComesFromThePage] },
  build: {
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
