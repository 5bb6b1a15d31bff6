/** Where the view is and where it glides to. */
import type { MapBox } from "./MapView";
import type { Size } from "./camera";
import { viewBetween, ease, fitBox, zoomAt } from "./camera";
import type { Cloud } from "./cloud";

const FIT_MARGIN_PX = 28;
/** How much closer, and how much farther away, than the view of everything the view may come. */
const DEEPEST_ZOOM = 20_000;
const FARTHEST_ZOOM = 8;

export class Motion {
  size: Size = { width: 0, height: 0 };
  box: MapBox = { x: 0, y: 0, height: 2 };
  /** The view follows the points and the size of the element until somebody moves it. */
  isFitted = true;
  /** The page has to be told of the view. */
  isReportDue = false;
  private glide: { from: MapBox; to: MapBox; since: number; ms: number; isReported: boolean } | null = null;
  private whole: { version: number; size: Size; box: MapBox } | null = null;

  constructor(private readonly cloud: Cloud) {}

  /** The view, or while it glides the one it glides to. */
  target(): MapBox {
    return this.glide ? this.glide.to : this.box;
  }

  /** Goes there in `ms` milliseconds. */
  go(to: MapBox, ms: number, isReported: boolean): void {
    this.isFitted = false;
    this.glide = ms > 0 ? { from: this.box, to, since: performance.now(), ms, isReported } : null;
    if (this.glide) return;
    this.box = to;
    this.isReportDue ||= isReported;
  }

  /** Moves the view on; true while it glides. */
  advance(now: number): boolean {
    if (!this.glide) return false;
    const { from, to, since, ms, isReported } = this.glide;
    const t = (now - since) / ms;
    this.box = viewBetween(from, to, ease(t));
    this.isReportDue ||= isReported;
    if (t >= 1) this.glide = null;
    return true;
  }

  /** A view `factor` times closer with the place under (x, y) [CSS px] held, within the limits of the zoom. */
  zoomed(box: MapBox, x: number, y: number, factor: number): MapBox {
    const whole = this.everything().height;
    const height = Math.min(FARTHEST_ZOOM * whole, Math.max(whole / DEEPEST_ZOOM, box.height / factor));
    return zoomAt(box, this.size, x, y, box.height / height);
  }

  /** The view of everything shown; kept until points, filter or size change. */
  everything(): MapBox {
    const { cloud, size } = this;
    if (!this.whole || this.whole.version !== cloud.version || this.whole.size !== size) {
      const bounds = cloud.bounds();
      const box = bounds && size.height > 0 ? fitBox(bounds, size, FIT_MARGIN_PX) : { x: 0, y: 0, height: 2 };
      this.whole = { version: cloud.version, size, box };
    }
    return this.whole.box;
  }

  /** Shows everything, in `ms` milliseconds, unless somebody has moved the view. */
  followPoints(ms: number): void {
    if (!this.isFitted) return;
    const to = this.everything();
    this.glide = ms > 0 ? { from: this.box, to, since: performance.now(), ms, isReported: false } : null;
    if (!this.glide) this.box = to;
  }
}
