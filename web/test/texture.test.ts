/** Local latents on the page: the noise of a draw, links that carry it, and the rates of levels. */

import { expect, test } from "vitest";
import { textureNoise } from "../src/chance";
import { INITIAL, type State } from "../src/store";
import { levelLines } from "../src/tabs/run/history";
import { fromHash, toHash } from "../src/url";

test("a draw is the noise that Python draws", () => {
  // zatlas.randomness.page_normal("another texture", 2, 3), as its own example says
  Array.from(textureNoise(2, 3)).forEach((value, i) => expect(value).toBeCloseTo([-0.4595, -0.3158, 0.6533][i], 4));
  expect(Array.from(textureNoise(2, 9)).slice(0, 3)).toEqual(Array.from(textureNoise(2, 3)));
  expect(textureNoise(3, 3)[0]).not.toBeCloseTo(textureNoise(2, 3)[0], 3);
});

test("noise is standard normal and that of neighbouring draws has nothing in common", () => {
  const [a, b] = [textureNoise(4, 4096), textureNoise(5, 4096)];
  const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(Math.abs(mean(a))).toBeLessThan(0.06);
  expect(Math.abs(mean(a.map((value) => value * value)) - 1)).toBeLessThan(0.1);
  expect(Math.abs(mean(a.map((value, i) => value * b[i])))).toBeLessThan(0.06);
});

test("a link carries the draw, and none that there cannot be", async () => {
  const of = async (draw: unknown) => (await fromHash((await toHash({ ...INITIAL, draw } as State, "abc")).hash))?.state.draw;
  expect(await of(7)).toBe(7);
  for (const odd of [0, -1, 1.5, 10_000, "2", null]) expect(await of(odd)).toBeUndefined();
});

test("the rate divides into levels, coarse map first", () => {
  const history = { validation_rate_16px_nats: [5, 6], validation_rate_8px_nats: [1, null], validation_rate_nats: [9, null] };
  expect(levelLines(history).map(({ name, values }) => [name, values])).toEqual([
    ["z", [3, null]],
    ["local, 8\u00a0×\u00a08 cells", [1, null]],
    ["local, 16\u00a0×\u00a016 cells", [5, 6]],
  ]);
  expect(levelLines({ validation_rate_nats: [9] })).toEqual([]);
});
