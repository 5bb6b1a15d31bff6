/** The help sheet: what the page shows, in a few sentences, and all keys. */

import { useEffect, useRef } from "preact/hooks";
import { useApp } from "./app";
import { KEYS } from "./keys";
import { drawsTexture } from "./levels";

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { atlas } = useApp();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={onClose}>
      <div class="row spread">
        <h2 id="help-title">Keys and help</h2>
        <button type="button" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
      <p>
        Each point of the map is one real {atlas.manifest.images.is_tiled ? "tile of a section" : "image"}, placed by what the
        model's encoder makes of it. Click a point to inspect it. Click between points, drag with the probe, or move a slider,
        and the decoder draws an image that nobody has taken: it carries a dashed frame and says so. The badge beside it tells
        whether training images lie near that place.
      </p>
      {atlas.manifest.models.some(drawsTexture) && (
        <p>
          The fine details of what the decoder draws are drawn by chance and kept over sliders and paths. The button Another draw
          puts other details of the same kind in their place: what changes then is chance, what stays is what the latent says.
        </p>
      )}
      <div class="key-tables">
        {KEYS.map(({ title, keys }) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map((key) => (
                <div key={key.keys}>
                  <dt>
                    <kbd>{key.keys}</kbd>
                  </dt>
                  <dd>{key.does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </dialog>
  );
}
