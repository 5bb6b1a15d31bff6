/** The parts of the map that need no browser: camera, index of the points, choice of pictures, steps from point to point. */
import { describe, expect, it } from "vitest";
import { viewBetween, boundsOf, dragBy, fitBox, scaleOf, toScreen, toWorld, zoomAt } from "../src/map/camera";
import { Cloud, pointDiameter, pointOpacity } from "../src/map/cloud";
import { GridIndex } from "../src/map/gridIndex";
import { freePlace, shorten } from "../src/map/labels";
import { parseColour } from "../src/map/layer";
import { ellipseAxes } from "../src/map/overlay";
import { Pace } from "../src/map/pace";
import { LARGEST_PX, PicturePlaces, SMALLEST_PX, choosePictures, pictureSide } from "../src/map/pictures";

/** Numbers from 0 to 1 that are the same in every run. */
function stream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Clusters of different size with far outliers and, on a coarse lattice, many points on one place. */
function points(n: number, seed: number): Float32Array {
  const next = stream(seed);
  return Float32Array.from({ length: 2 * n }, (_, i) => {
    const kind = (i >> 1) % 4;
    if (kind === 0) return Math.round(next() * 8);
    if (kind === 1) return 3 + 0.01 * next();
    return (next() - 0.5) * ((i >> 1) % 97 === 2 ? 1000 : 20);
  });
}

const size = { width: 640, height: 480 };

describe("camera", () => {
  const box = { x: 3, y: -2, height: 6 };

  it("goes to the screen and back, with y upwards", () => {
    const at = toScreen(box, size, 4.5, -1);
    expect(at).toEqual({ x: 440, y: 160 });
    const back = toWorld(box, size, at.x, at.y);
    expect(back.x).toBeCloseTo(4.5, 12);
    expect(back.y).toBeCloseTo(-1, 12);
  });

  it("holds the place under the pointer while zooming", () => {
    const before = toWorld(box, size, 100, 50);
    const zoomed = zoomAt(box, size, 100, 50, 3);
    const after = toWorld(zoomed, size, 100, 50);
    expect(zoomed.height).toBeCloseTo(2, 12);
    expect(after.x).toBeCloseTo(before.x, 12);
    expect(after.y).toBeCloseTo(before.y, 12);
    const halfway = viewBetween(box, zoomed, 0.4);
    expect(toWorld(halfway, size, 100, 50).x).toBeCloseTo(before.x, 9);
    expect(toWorld(halfway, size, 100, 50).y).toBeCloseTo(before.y, 9);
  });

  it("takes the content along while dragging", () => {
    const before = toScreen(box, size, 1, 1);
    const after = toScreen(dragBy(box, size, 30, -12), size, 1, 1);
    expect(after.x - before.x).toBeCloseTo(30, 9);
    expect(after.y - before.y).toBeCloseTo(-12, 9);
  });

  it("fits wide, tall, single and no extent", () => {
    for (const bounds of [
      { left: -50, right: 50, bottom: 0, top: 1 },
      { left: 0, right: 1, bottom: -7, top: 300 },
    ]) {
      const seen = boundsOf(fitBox(bounds, size, 20), size, -19.9);
      expect(seen.left).toBeLessThanOrEqual(bounds.left);
      expect(seen.right).toBeGreaterThanOrEqual(bounds.right);
      expect(seen.bottom).toBeLessThanOrEqual(bounds.bottom);
      expect(seen.top).toBeGreaterThanOrEqual(bounds.top);
    }
    expect(fitBox({ left: 2, right: 2, bottom: 5, top: 5 }, size, 20)).toEqual({ x: 2, y: 5, height: 2 });
  });

  it("stops at both ends of a glide", () => {
    const to = { x: 9, y: 9, height: 6 };
    expect(viewBetween(box, to, 0)).toEqual(box);
    expect(viewBetween(box, to, 1)).toEqual(to);
    expect(viewBetween(box, to, 0.5).x).toBeCloseTo(6, 9);
  });
});

/** Nearest row by looking at every one. */
function nearestOfAll(xy: Float32Array, x: number, y: number, reach: number, accepts: (row: number) => boolean): number | null {
  let best: number | null = null;
  let least = reach * reach;
  for (let row = 0; row < xy.length / 2; row++) {
    const square = (xy[2 * row] - x) ** 2 + (xy[2 * row + 1] - y) ** 2;
    if (accepts(row) && (square < least || (square === least && best === null))) [best, least] = [row, square];
  }
  return best;
}

/** Even-odd rule for every row and edge, as in textbooks. */
function withinOfAll(xy: Float32Array, outline: Float32Array, accepts: (row: number) => boolean): number[] {
  const found: number[] = [];
  const corners = outline.length / 2;
  for (let row = 0; row < xy.length / 2; row++) {
    const [x, y] = [xy[2 * row], xy[2 * row + 1]];
    let crossings = 0;
    for (let i = 0; i < corners; i++) {
      const j = (i + corners - 1) % corners;
      const [xi, yi, xj, yj] = [outline[2 * i], outline[2 * i + 1], outline[2 * j], outline[2 * j + 1]];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) crossings++;
    }
    if (crossings % 2 === 1 && accepts(row)) found.push(row);
  }
  return found;
}

describe("index of the points", () => {
  const even = (row: number): boolean => row % 2 === 0;

  it.each([1, 2, 7, 400, 5000])("finds the nearest of %i points as a search of all does", (n) => {
    const xy = points(n, n);
    const index = new GridIndex(xy);
    const next = stream(5);
    for (let k = 0; k < 200; k++) {
      const spread = k % 10 === 0 ? 3000 : 24;
      const [x, y] = [(next() - 0.5) * spread, (next() - 0.5) * spread];
      const reach = k % 3 ? Infinity : 2;
      expect(index.nearest(x, y, reach)).toBe(nearestOfAll(xy, x, y, reach, () => true));
      expect(index.nearest(x, y, reach, even)).toBe(nearestOfAll(xy, x, y, reach, even));
    }
  });

  it("takes the lowest row of many on one place", () => {
    const index = new GridIndex(Float32Array.from({ length: 2000 }, () => 4));
    expect(index.nearest(4, 4)).toBe(0);
    expect(index.nearest(9, 4, Infinity, (row) => row > 17)).toBe(18);
    expect(index.nearest(9, 4, 4.9)).toBeNull();
    expect(index.within(Float32Array.of(0, 0, 9, 0, 9, 9, 0, 9))).toHaveLength(1000);
  });

  it("is at home with no point, and with places that are not numbers", () => {
    const none = new GridIndex(new Float32Array(0));
    expect(none.nearest(0, 0)).toBeNull();
    expect(none.within(Float32Array.of(0, 0, 1, 0, 1, 1))).toHaveLength(0);
    expect(none.spacing()).toBe(1);
    const some = new GridIndex(Float32Array.of(NaN, 1, 2, 2, Infinity, 0));
    expect(some.nearest(-100, 3)).toBe(1);
    expect([...some.within(Float32Array.of(-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9))]).toEqual([1]);
  });

  it.each([0, 1, 300, 20_000])("finds within outlines of %i points what the rule for every edge does", (n) => {
    const xy = points(n, 3 * n + 1);
    const index = new GridIndex(xy);
    const next = stream(n);
    for (let k = 0; k < 12; k++) {
      const corners = [3, 4, 9, 60][k % 4];
      // Corners on the lattice of the points, for rays through corners and points on edges; the outlines cross themselves.
      const place = (): number => (k % 2 ? Math.round(next() * 12 - 2) : (next() - 0.5) * (k < 4 ? 2000 : 22));
      const outline = Float32Array.from({ length: 2 * corners }, place);
      expect([...index.within(outline)]).toEqual(withinOfAll(xy, outline, () => true));
      expect([...index.within(outline, even)]).toEqual(withinOfAll(xy, outline, even));
    }
  });

  it("finds nothing within less than three corners", () => {
    expect(new GridIndex(points(50, 1)).within(Float32Array.of(0, 0, 9, 9))).toHaveLength(0);
  });

  it("never counts less than there is in a box", () => {
    const xy = points(3000, 8);
    const index = new GridIndex(xy);
    const box = { left: -2, right: 3, bottom: 1, top: 6 };
    const seen: number[] = [];
    index.visitBox(box, (row) => seen.push(row));
    const all = Array.from({ length: 3000 }, (_, row) => row).filter(
      (row) => xy[2 * row] >= -2 && xy[2 * row] <= 3 && xy[2 * row + 1] >= 1 && xy[2 * row + 1] <= 6,
    );
    expect(seen.sort((a, b) => a - b)).toEqual(all);
    expect(index.countAtMost(box)).toBeGreaterThanOrEqual(all.length);
  });

  it("tells the spacing of a lattice", () => {
    const index = new GridIndex(Float32Array.from({ length: 5000 }, (_, i) => (i % 2 ? Math.floor(i / 100) : (i / 2) % 50) * 0.25));
    expect(index.spacing()).toBeCloseTo(0.5, 6);
    const few = new Set([0, 1240, 1260, 2000]);
    expect(index.spacing((row) => few.has(row))).toBeGreaterThan(5);
    expect(index.spacing((row) => row === 7)).toBe(1);
  });
});

describe("pictures", () => {
  const next = stream(11);
  const cloud = new Cloud();
  cloud.setPoints(Float32Array.from({ length: 20_000 }, () => next() * 100), false);
  const places = (): PicturePlaces => new PicturePlaces(cloud);
  const overlaps = (rows: number[], side: number): number => {
    let count = 0;
    for (const a of rows) {
      for (const b of rows) {
        if (a < b && Math.abs(cloud.x(a) - cloud.x(b)) < side && Math.abs(cloud.y(a) - cloud.y(b)) < side) count++;
      }
    }
    return count;
  };

  it("grow with the zoom from 24 to 96 px, and are not there while points are close", () => {
    expect(pictureSide(5)).toBe(0);
    expect(pictureSide(18)).toBe(SMALLEST_PX);
    expect(pictureSide(10_000)).toBe(LARGEST_PX);
    for (let gap = 18; gap < 500; gap += 3) expect(pictureSide(gap + 3)).toBeGreaterThanOrEqual(pictureSide(gap));
    expect(places().inView({ x: 50, y: 50, height: 110 }, size).rows).toHaveLength(0);
  });

  it.each([2, 5, 9, 14])("do not overlap, and leave no free place unused, in a view %i units high", (height) => {
    const box = { x: 48, y: 52, height };
    const { rows, side } = places().inView(box, size);
    const units = side / scaleOf(box, size);
    expect(rows.length).toBeGreaterThan(2);
    expect(overlaps(rows, units)).toBe(0);
    const taken = new Set(rows);
    const seen = boundsOf(box, size);
    for (let row = 0; row < cloud.n; row++) {
      const [x, y] = [cloud.x(row), cloud.y(row)];
      if (taken.has(row) || x < seen.left || x > seen.right || y < seen.bottom || y > seen.top) continue;
      expect(rows.some((one) => Math.abs(cloud.x(one) - x) < 1.3 * units && Math.abs(cloud.y(one) - y) < 1.3 * units)).toBe(true);
    }
  });

  it("stay the same while panning, also into a newly chosen region", () => {
    const kept = places();
    const sees = (box: { x: number; y: number; height: number }, row: number): boolean => {
      const seen = boundsOf(box, size);
      return cloud.x(row) > seen.left && cloud.x(row) < seen.right && cloud.y(row) > seen.bottom && cloud.y(row) < seen.top;
    };
    let before = { x: 40, y: 50, height: 9 };
    let rows = kept.inView(before, size).rows;
    for (let step = 1; step <= 40; step++) {
      const box = { x: 40 + 0.5 * step, y: 50 - 0.2 * step, height: 9 };
      const now = kept.inView(box, size).rows;
      const common = (list: number[]): number[] => list.filter((row) => sees(box, row) && sees(before, row)).sort((a, b) => a - b);
      expect(common(now)).toEqual(common(rows));
      [before, rows] = [box, now];
    }
  });

  it("are only of rows that are shown, and come anew when the filter changes", () => {
    const kept = places();
    const box = { x: 50, y: 50, height: 6 };
    const first = kept.inView(box, size).rows;
    cloud.setVisible(Uint8Array.from({ length: cloud.n }, (_, row) => (first.includes(row) ? 0 : 1)));
    const second = kept.inView(box, size).rows;
    expect(second.length).toBeGreaterThan(0);
    expect(second.filter((row) => first.includes(row))).toEqual([]);
    cloud.setVisible(null);
    expect(kept.inView(box, size).rows).toEqual(first);
  });

  it("give one of many on one place", () => {
    expect(choosePictures([4, 2, 9], new Float32Array(20), 1)).toHaveLength(1);
    expect(choosePictures([], new Float32Array(0), 1)).toEqual([]);
  });
});

describe("points", () => {
  const lattice = (): Cloud => {
    const cloud = new Cloud();
    cloud.setPoints(Float32Array.of(0, 0, 1, 0, -1, 0, 0, 1, 0, -1, 5, 0.5), false);
    return cloud;
  };
  const middle = { x: 0, y: 0 };

  it("lead to the nearest in a direction", () => {
    const cloud = lattice();
    expect(cloud.neighbour(0, "right", middle)).toBe(1);
    expect(cloud.neighbour(0, "left", middle)).toBe(2);
    expect(cloud.neighbour(0, "up", middle)).toBe(3);
    expect(cloud.neighbour(0, "down", middle)).toBe(4);
    expect(cloud.neighbour(1, "right", middle)).toBe(5);
    expect(cloud.neighbour(5, "right", middle)).toBeNull();
    expect(cloud.neighbour(null, "right", { x: 2, y: 0 })).toBe(5);
    cloud.setVisible(Uint8Array.of(1, 0, 1, 1, 1, 1));
    expect(cloud.neighbour(0, "right", middle)).toBe(5);
  });

  it("on one place are passed through one by one, and back", () => {
    const cloud = new Cloud();
    cloud.setPoints(Float32Array.of(1, 1, 0, 0, 1, 1, 2, 0, 1, 1), false);
    const going = (from: number, direction: "left" | "right", steps: number): (number | null)[] => {
      const rows: (number | null)[] = [];
      for (let row: number | null = from, k = 0; k < steps && row !== null; k++) rows.push((row = cloud.neighbour(row, direction, middle)));
      return rows;
    };
    expect(going(1, "right", 5)).toEqual([0, 2, 4, 3, null]);
    expect(going(3, "left", 5)).toEqual([4, 2, 0, 1, null]);
  });

  it("move from where they are, and jump when their number changes", () => {
    const cloud = lattice();
    expect(cloud.setPoints(Float32Array.of(2, 2, 1, 0, -1, 0, 0, 1, 0, -1, 5, 0.5), true)).toBe(true);
    cloud.setTime(0.5);
    expect(cloud.x(0)).toBeCloseTo(1, 6);
    cloud.setPoints(Float32Array.of(9, 2, 1, 0, -1, 0, 0, 1, 0, -1, 5, 0.5), true);
    expect(cloud.x(0)).toBeCloseTo(1, 6);
    cloud.setTime(1);
    expect(cloud.x(0)).toBe(9);
    expect(cloud.setPoints(Float32Array.of(2, 2), true)).toBe(false);
    expect(cloud.x(0)).toBe(2);
    expect(cloud.rgba).toHaveLength(4);
  });

  it("without a place are never shown", () => {
    const cloud = new Cloud();
    cloud.setPoints(Float32Array.of(NaN, 0, 1, 1), false);
    expect([0, 1].map(cloud.isShown)).toEqual([false, true]);
    expect(cloud.bounds()).toEqual({ left: 1, right: 1, bottom: 1, top: 1 });
    cloud.setVisible(Uint8Array.of(1, 0));
    expect(cloud.bounds()).toBeNull();
  });

  it("refuse a mask or colours of another number", () => {
    expect(() => lattice().setVisible(new Uint8Array(3))).toThrow("The map has 6 points, but 'visible' has 3.");
    expect(() => lattice().setColours(new Uint8Array(4))).toThrow("'colours' has 1");
  });

  it("grow and gain colour as the map opens", () => {
    for (let gap = 0.1; gap < 100; gap *= 1.5) {
      expect(pointDiameter(1.5 * gap)).toBeGreaterThanOrEqual(pointDiameter(gap));
      expect(pointOpacity(1.5 * gap)).toBeGreaterThanOrEqual(pointOpacity(gap));
    }
  });
});

describe("marks", () => {
  it("give the axes of a posterior", () => {
    const turned = ellipseAxes({ xx: 2.5, xy: 1.5, yy: 2.5 });
    expect(turned.long).toBeCloseTo(2, 12);
    expect(turned.short).toBeCloseTo(1, 12);
    expect(turned.angle).toBeCloseTo(Math.PI / 4, 12);
    expect(ellipseAxes({ xx: 0, xy: 0, yy: 0 })).toEqual({ long: 0, short: 0, angle: 0 });
  });

  it("set labels side by side, or leave them out when there is no place", () => {
    const taken: { x: number; y: number; halfWidth: number }[] = [];
    for (let k = 0; k < 7; k++) {
      const place = freePlace({ x: 10, y: 50 }, 30, 200, taken);
      if (place) taken.push(place);
    }
    expect(taken).toHaveLength(5);
    expect(taken.every((one) => one.x === 30)).toBe(true);
    expect(new Set(taken.map((one) => one.y)).size).toBe(5);
  });

  it("shorten long text only", () => {
    const widthOf = (text: string): number => 10 * text.length;
    expect(shorten("cluster 3", widthOf)).toBe("cluster 3");
    expect(shorten("x".repeat(5000), widthOf)).toBe(`${"x".repeat(18)}…`);
  });

  it("read the colours of a theme", () => {
    expect(parseColour("#ff8000")).toEqual([1, 128 / 255, 0]);
    expect(parseColour(" #fff ")).toEqual([1, 1, 1]);
    expect(parseColour("rgb(255, 0, 51)")).toEqual([1, 0, 0.2]);
    expect(parseColour("tomato")).toEqual([0.5, 0.5, 0.5]);
  });
});

describe("pace", () => {
  /** Frames of a machine that needs `cost` ms for a million rows, and at least 16 ms; returns the strides. */
  function run(pace: Pace, cost: number, n: number): number[] {
    const strides: number[] = [];
    for (let now = 1000, k = 0; k < 40; k++) {
      pace.frame(now);
      const stride = pace.start(now, true, n);
      strides.push(stride);
      now += Math.max(16, (cost * n) / stride / 1e6);
    }
    return strides;
  }

  it("draws everything where that is fast enough, and in small maps", () => {
    expect(Math.max(...run(new Pace(), 10, 1_000_000))).toBe(1);
    expect(Math.max(...run(new Pace(), 9000, 40_000))).toBe(1);
  });

  it("leaves rows out while a large map moves on a slow machine, and catches up at rest", () => {
    const pace = new Pace();
    const strides = run(pace, 200, 1_000_000);
    expect(strides[0]).toBe(1);
    expect(strides[39]).toBeGreaterThanOrEqual(4);
    expect(strides[39]).toBeLessThanOrEqual(7);
    expect(pace.isCatchUpDue(1e6)).toBe(true);
    expect(pace.start(1e6, false, 1_000_000)).toBe(1);
    expect(pace.isCatchUpDue(1e6)).toBe(false);
    expect(pace.times().length).toBeGreaterThan(30);
  });
});
