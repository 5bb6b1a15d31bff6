/** Draws the texture of all decoded pictures anew; shown for models that draw it. */

import { drawAgain, drawTexture } from "../act";
import { useApp, usePart } from "../app";
import { drawsTexture } from "../levels";
import type { ModelInfo } from "../manifest";

interface Props {
  model: ModelInfo;
  /** Say in a sentence what is drawn. */
  hasWords?: boolean;
}

export function AnotherDraw({ model, hasWords = false }: Props) {
  const app = useApp();
  const draw = usePart((state) => state.draw);
  if (!drawsTexture(model)) return null;
  return (
    <div class="another-draw" role="group" aria-label="Texture">
      <div class="row">
        <button type="button" data-another-draw onClick={() => drawAgain(app)} title="The same kind of image, with its details elsewhere">
          Another draw
        </button>
        <button type="button" data-first-draw disabled={draw === 1} onClick={() => drawTexture(app, 1)} title="Draw 1, the texture of the report">
          First
        </button>
        <span class="small" data-draw={draw}>
          Draw {draw}
        </span>
      </div>
      {hasWords && (
        <p class="small soft prose">
          The latent says what kind of image this is; where its fine details lie is drawn by chance. Another draw shows the same kind of
          image with its details elsewhere. What stays the same in all draws is what the latent holds. Draw 1 is that of the report.
        </p>
      )}
    </div>
  );
}
