/** Taking a path along: pictures, animation, numbers, Python. */

import { useState } from "preact/hooks";
import { useApp } from "../../app";
import type { Frames } from "../../decoder";
import { save, saveCanvas } from "../../save/files";
import { filmCsv, filmGif, filmStrip } from "../../save/film";
import { pythonPath } from "../../save/python";
import { copyText } from "../../save/share";
import { fileName } from "../../save/stamp";
import { frameDelayMs } from "./Player";
import type { UsedPath } from "./usePath";
import { studyPathOf, type Stop } from "../../path";

interface Props {
  used: UsedPath;
  stops: Stop[];
  /** Null as long as there are no pictures of this path. */
  frames: Frames | null;
  title: string;
}

export function SaveButtons({ used, stops, frames, title }: Props) {
  const app = useApp();
  const [said, setSaid] = useState("");
  const { model, path } = used;
  const name = fileName(model.info.name, title || "path", path.kind);
  const film = { app, model, stops, title, kind: path.kind, note: studyPathOf(model, path)?.note ?? "" };
  const run = (work: () => Promise<string> | string) => () => {
    setSaid("…");
    // One turn of the event loop lets the page say that it is at work.
    setTimeout(() => {
      void Promise.resolve()
        .then(work)
        .catch((error: unknown) => `Not saved: ${error instanceof Error ? error.message : String(error)}`)
        .then((words) => {
          setSaid(words);
          app.announce(words);
        });
    }, 20);
  };
  const png = async () => {
    if (frames === null) return "There are no pictures yet";
    await saveCanvas(`${name}.png`, await filmStrip({ ...film, frames }));
    return "Film strip saved";
  };
  const animation = () => {
    if (frames === null) return "There are no pictures yet";
    save(`${name}.gif`, filmGif({ ...film, frames }, frameDelayMs(stops.length - 1)), "image/gif");
    return "Animation saved";
  };
  const numbers = () => {
    save(`${name}.csv`, filmCsv(film), "text/csv");
    return "Numbers saved";
  };
  const python = async () => {
    return (await copyText(pythonPath(app, path, used.rowsAlong), app.element, "Python for this path")) ? "Python copied" : "";
  };
  return (
    <div class="row save-buttons" role="group" aria-label="Save this path">
      <button type="button" disabled={frames === null} onClick={run(png)} title="Film strip as a picture">
        PNG
      </button>
      <button type="button" disabled={frames === null} onClick={run(animation)} title="Animation, there and back">
        GIF
      </button>
      <button type="button" onClick={run(numbers)} title="Latents and distances to the data as a table">
        CSV
      </button>
      <button type="button" onClick={run(python)} title="Python that makes this path again with zatlas">
        Copy Python
      </button>
      <span class="small soft" role="status">
        {said}
      </span>
    </div>
  );
}
