/** Which ends, which kind of path, how many pictures; and the paths that belong to the study. */

import type { ModelInfo, StudyPath } from "../../manifest";
import type { PathState } from "../../store";
import { Ends } from "./Ends";
import { ALL_PATHS, axisPaths, MOST_FRAMES } from "../../path";

const KINDS = [
  ["straight", "Straight"],
  ["spherical", "Spherical"],
  ["graph", "Along the data graph"],
] as const;

interface Props {
  info: ModelInfo;
  path: PathState;
  onChange: (change: Partial<PathState>, gesture?: string) => void;
}

export function PathForm({ info, path, onChange }: Props) {
  const isAll = path.walk === ALL_PATHS;
  return (
    <section class="card path-form" aria-label="The path">
      <h2>A path from A to B</h2>
      {isAll ? <p class="small soft">All paths of the study are shown. Choose one of them, or two images of your own.</p> : null}
      <Ends path={isAll ? { ...path, a: null, b: null } : path} onChange={(change) => onChange(isAll ? { a: null, b: null, ...change } : change)} />
      <fieldset>
        <legend>Kind of path</legend>
        <div class="kinds">
          {KINDS.map(([kind, words]) => (
            <button key={kind} type="button" aria-pressed={path.kind === kind} onClick={() => onChange({ kind })}>
              {words}
            </button>
          ))}
        </div>
      </fieldset>
      <Frames value={path.frames} onChange={(frames) => onChange({ frames }, "path-frames")} />
      {info.walks.length > 0 && <StudyPaths paths={info.walks} chosen={path.walk} onChange={onChange} />}
    </section>
  );
}

function Frames({ value, onChange }: { value: number; onChange: (frames: number) => void }) {
  const take = (text: string) => {
    const frames = Math.round(Number(text));
    if (frames >= 1 && frames <= MOST_FRAMES) onChange(frames);
  };
  return (
    <label class="frames">
      <span>Pictures in between</span>
      <input type="range" min={1} max={MOST_FRAMES} value={value} onInput={(event) => take(event.currentTarget.value)} />
      <input
        type="number"
        min={1}
        max={MOST_FRAMES}
        value={value}
        aria-label="Pictures in between, as a number"
        onInput={(event) => take(event.currentTarget.value)}
      />
    </label>
  );
}

const NUMBERS = ["", "one", "two", "three", "four", "five", "six", "seven"];

function StudyPaths({ paths, chosen, onChange }: { paths: StudyPath[]; chosen: string; onChange: Props["onChange"] }) {
  const axes = axisPaths(paths);
  const labels = paths.filter((item) => !axes.includes(item));
  const count = NUMBERS[axes.length] ?? "";
  return (
    <fieldset>
      <legend>{axes.length === 1 ? "The path of this study" : `The ${count} paths of this study`.replace("  ", " ")}</legend>
      <p class="small soft">From the image lowest on an axis to the one highest on it.</p>
      <div class="study-paths">
        <StudyPathButtons paths={axes} chosen={chosen} onChange={onChange} />
        {axes.length > 1 && (
          <button type="button" aria-pressed={chosen === ALL_PATHS} onClick={() => onChange({ walk: ALL_PATHS })}>
            All {count || "paths"}
          </button>
        )}
      </div>
      {labels.length > 0 && (
        <>
          <p class="small soft">From the lowest to the highest value of a label:</p>
          <div class="study-paths">
            <StudyPathButtons paths={labels} chosen={chosen} onChange={onChange} />
          </div>
        </>
      )}
    </fieldset>
  );
}

function StudyPathButtons({ paths, chosen, onChange }: { paths: StudyPath[]; chosen: string; onChange: Props["onChange"] }) {
  return (
    <>
      {paths.map((item) => (
        <button
          key={item.name}
          type="button"
          aria-pressed={chosen === item.name}
          onClick={() => onChange({ a: item.start_row, b: item.end_row, walk: item.name })}
        >
          {item.name}
        </button>
      ))}
    </>
  );
}
