/** The map of images: `createMapView` puts one into an element. */
import type { MapEvents, MapView } from "./MapView";
import type { MapOptions } from "./view";
import { PointMap } from "./view";

export type * from "./MapView";
export type { MapOptions } from "./view";

export function createMapView(element: HTMLElement, events: MapEvents, options: MapOptions = {}): MapView {
  return new PointMap(element, events, options);
}
