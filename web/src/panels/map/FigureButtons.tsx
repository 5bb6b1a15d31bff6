/** The map as a figure for print. */

import { useApp } from "../../app";
import type { Model } from "../../atlas";
import type { MapView } from "../../map/MapView";
import { mapFigure, mapSvg } from "../../save/figure";
import type { MapFigure } from "../../save/figure";
import { Menu } from "../../parts/Menu";
import { save, saveCanvas } from "../../save/files";
import { figureOf } from "./figureOf";

export function FigureButtons({ model, view }: { model: Model; view: { current: MapView | null } }) {
  const app = useApp();
  const run = (make: (figure: MapFigure) => Promise<void> | void) => {
    if (view.current) void make(figureOf(app, model, view.current));
  };
  return (
    <Menu title="Figure">
      {(close) => (
        <div class="menu-body card" onClick={close}>
          <button type="button" onClick={() => run((figure) => save("map.svg", mapSvg(figure), "image/svg+xml"))}>
            SVG, with legend and caption
          </button>
          <button type="button" onClick={() => run(async (figure) => saveCanvas("map.png", await mapFigure(figure)))}>
            PNG, 300 dots per inch
          </button>
        </div>
      )}
    </Menu>
  );
}
