/** The map as a figure for print. */

import { useState } from "preact/hooks";
import { useApp } from "../../app";
import type { Model } from "../../atlas";
import type { MapView } from "../../map/MapView";
import { mapFigure, mapSvg } from "../../save/figure";
import type { MapFigure } from "../../save/figure";
import { Icon } from "../../parts/Icon";
import { save, saveCanvas } from "../../save/files";
import { figureOf } from "./figureOf";

export function FigureButtons({ model, view }: { model: Model; view: { current: MapView | null } }) {
  const app = useApp();
  const [isOpen, setOpen] = useState(false);
  const run = (make: (figure: MapFigure) => Promise<void> | void) => {
    setOpen(false);
    if (view.current) void make(figureOf(app, model, view.current));
  };
  return (
    <span class="menu" onKeyDown={(event) => event.key === "Escape" && isOpen && (event.preventDefault(), setOpen(false))}>
      <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        Figure <Icon name="down" />
      </button>
      {isOpen && (
        <div class="menu-body card">
          <button type="button" onClick={() => run((figure) => save("map.svg", mapSvg(figure), "image/svg+xml"))}>
            SVG, with legend and caption
          </button>
          <button type="button" onClick={() => run(async (figure) => saveCanvas("map.png", await mapFigure(figure)))}>
            PNG, 300 dots per inch
          </button>
        </div>
      )}
    </span>
  );
}
