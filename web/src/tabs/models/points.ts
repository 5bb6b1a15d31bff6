/** Drawing and finding the points of a small still map. Places are in CSS pixels, x and y by turns. */

const PAD = 14;
const FEW = 4000;

/** Places of all images in a box, with one scale for both axes and y upwards. */
export function placesInBox(xy: Float32Array, width: number, height: number): Float32Array {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < xy.length; i += 2) {
    left = Math.min(left, xy[i]);
    right = Math.max(right, xy[i]);
    low = Math.min(low, xy[i + 1]);
    high = Math.max(high, xy[i + 1]);
  }
  const factor = Math.min((width - 2 * PAD) / (right - left || 1), (height - 2 * PAD) / (high - low || 1));
  const places = new Float32Array(xy.length);
  for (let i = 0; i < xy.length; i += 2) {
    places[i] = width / 2 + factor * (xy[i] - (left + right) / 2);
    places[i + 1] = height / 2 - factor * (xy[i + 1] - (low + high) / 2);
  }
  return places;
}

/** The visible image nearest to a place, no farther than `reach`; null when there is none. */
export function nearestTo(xy: Float32Array, visible: Uint8Array | null, x: number, y: number, reach: number): number | null {
  let best: number | null = null;
  let least = reach * reach;
  for (let row = 0; row < xy.length / 2; row++) {
    if (visible && visible[row] === 0) continue;
    const distance = (xy[2 * row] - x) ** 2 + (xy[2 * row + 1] - y) ** 2;
    if (distance < least || (best === null && distance === least && reach === Infinity)) {
      least = distance;
      best = row;
    }
  }
  return best;
}

/** The nearest visible image from `row` towards a direction, within 45 degrees of it. */
export function nearestIn(xy: Float32Array, visible: Uint8Array | null, row: number, [dx, dy]: readonly [number, number]): number | null {
  let best: number | null = null;
  let least = Infinity;
  for (let other = 0; other < xy.length / 2; other++) {
    if (other === row || (visible && visible[other] === 0)) continue;
    const x = xy[2 * other] - xy[2 * row];
    const y = xy[2 * other + 1] - xy[2 * row + 1];
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy - y * dx);
    const distance = x * x + y * y;
    if (along <= 0 || aside > along || distance >= least) continue;
    least = distance;
    best = other;
  }
  return best;
}

interface Points {
  xy: Float32Array;
  width: number;
  height: number;
  rgba: Uint8Array;
  selected: Uint8Array | null;
  visible: Uint8Array | null;
}

/** Draw all visible images as points; outside of the selection they are faint, and the selected lie on top. */
export function drawPoints(canvas: HTMLCanvasElement, { xy, width, height, rgba, selected, visible }: Points): void {
  const context = cleared(canvas, width, height);
  if (context === null) return;
  const n = xy.length / 2;
  const size = n > 20_000 ? 1.5 : n > FEW ? 2.5 : 4;
  const passes = selected ? [0, 1] : [1];
  for (const pass of passes) {
    context.globalAlpha = pass === 0 ? 0.16 : 0.85;
    let last = -1;
    for (let row = 0; row < n; row++) {
      if ((visible && visible[row] === 0) || (selected && selected[row] !== pass)) continue;
      const colour = (rgba[4 * row] << 16) | (rgba[4 * row + 1] << 8) | rgba[4 * row + 2];
      if (colour !== last) {
        context.fillStyle = `#${colour.toString(16).padStart(6, "0")}`;
        last = colour;
      }
      if (n > FEW) {
        context.fillRect(xy[2 * row] - size / 2, xy[2 * row + 1] - size / 2, size, size);
      } else {
        context.beginPath();
        context.arc(xy[2 * row], xy[2 * row + 1], size / 2 + 0.4, 0, 2 * Math.PI);
        context.fill();
      }
    }
  }
}

interface Marks {
  xy: Float32Array;
  width: number;
  height: number;
  focus: number | null;
  hovered: number | null;
}

/** A ring around the image in focus and a square around the one under the pointer. */
export function drawMarks(canvas: HTMLCanvasElement, { xy, width, height, focus, hovered }: Marks): void {
  const context = cleared(canvas, width, height);
  if (context === null) return;
  const style = getComputedStyle(canvas);
  const outlined = (draw: () => void) => {
    context.beginPath();
    draw();
    context.lineWidth = 5;
    context.strokeStyle = style.backgroundColor === "rgba(0, 0, 0, 0)" ? style.getPropertyValue("--surface") : style.backgroundColor;
    context.stroke();
    context.lineWidth = 2.5;
    context.strokeStyle = style.color;
    context.stroke();
  };
  if (focus !== null) outlined(() => context.arc(xy[2 * focus], xy[2 * focus + 1], 9, 0, 2 * Math.PI));
  if (hovered !== null) outlined(() => context.rect(xy[2 * hovered] - 7, xy[2 * hovered + 1] - 7, 14, 14));
}

function cleared(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context?.scale(ratio, ratio);
  return context;
}
