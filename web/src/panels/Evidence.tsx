/** What stands beside a picture: whether it is supported by data, which real images are near, how well images come back. */

import { useApp, useModel, usePart } from "../app";
import type { Model } from "../atlas";
import { Dropped } from "./evidence/Dropped";
import { Generated } from "./evidence/Generated";
import { Inspected } from "./evidence/Inspected";

export function Evidence() {
  const app = useApp();
  const model = useModel();
  const focus = usePart((state) => state.focus);
  const origin = usePart((state) => state.origin);
  if (model === null) return null;
  const isInspecting = focus !== null && origin.kind === "image" && origin.row === focus;
  const inspected = focus === null ? <NothingInspected key="real" /> : <Inspected key={`real ${focus}`} model={model} row={focus} />;
  const generated = <Generated key="generated" model={model} />;
  return (
    <>
      {isInspecting ? [inspected, generated] : [generated, inspected]}
      {model.info.encoder !== null && app.atlas.manifest.images.channels === 1 && <DropPlace model={model} />}
    </>
  );
}

function NothingInspected() {
  return (
    <div class="card">
      <h2>Real image</h2>
      <p class="soft">Click a point of the map to see the image, what the model makes of it, and what it misses.</p>
    </div>
  );
}

function DropPlace({ model }: { model: Model }) {
  return (
    <details class="card">
      <summary>
        <h2 class="inline">Place an image of your own</h2>
      </summary>
      <Dropped model={model} />
    </details>
  );
}
