/** Chance on the page: numbers that are a function of a seed, and the same ones as in zatlas.randomness. */

/** Draws of a texture are numbered from 1 to this. */
export const MOST_DRAWS = 9999;

/** The number of the stream "another texture" in the table of zatlas.randomness. */
const TEXTURE = 0x7e37;

/** The word of mulberry32 (T. Ettinger, public domain) for a state. */
function scrambled(state: number): number {
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (t ^ (t >>> 14)) >>> 0;
}

/** Standard normal numbers from a seed (mulberry32, Box-Muller). */
export function normalNumbers(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    return (scrambled(state) + 0.5) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** The noise of a texture's draw from 2 on: that of `page_normal` in Python. Draw 1 is kept by the model. */
export function textureNoise(draw: number, n: number): Float32Array {
  const next = normalNumbers(scrambled((Math.imul(draw, 0x9e3779b9) + TEXTURE) >>> 0));
  return Float32Array.from({ length: n }, next);
}
