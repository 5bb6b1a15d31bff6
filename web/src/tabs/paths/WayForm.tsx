/** Which ends, which kind of way, how many pictures; and the walks that belong to the study. */

import type { ModelInfo, WalkInfo } from "../../manifest";
import type { PathState } from "../../store";
import { Ends } from "./Ends";
import { ALL_WALKS, MOST_FRAMES } from "./way";

const KINDS = [
  ["straight", "Straight"],
  ["spherical", "Spherical"],
  ["graph", "Along the data graph"],
] as const;

const COUNTS = ["", "The walk", "The two walks", "The three walks", "The four walks", "The five walks", "The six walks"];

interface Props {
  info: ModelInfo;
  path: PathState;
  onChange: (change: Partial<PathState>, gesture?: string) => void;
}

export function WayForm({ info, path, onChange }: Props) {
  const isAll = path.walk === ALL_WALKS;
  return (
    <section class="card way-form" aria-label="The way">
      <h2>A way from A to B</h2>
      {isAll ? <p class="small soft">All walks are shown. Choose one of them, or two images of your own.</p> : null}
      <Ends path={isAll ? { ...path, a: null, b: null } : path} onChange={(change) => onChange(isAll ? { a: null, b: null, ...change } : change)} />
      <fieldset>
        <legend>Kind of way</legend>
        <div class="kinds">
          {KINDS.map(([kind, words]) => (
            <button key={kind} type="button" aria-pressed={path.kind === kind} onClick={() => onChange({ kind })}>
              {words}
            </button>
          ))}
        </div>
      </fieldset>
      <Frames value={path.frames} onChange={(frames) => onChange({ frames }, "path-frames")} />
      {info.walks.length > 0 && <Walks walks={info.walks} walk={path.walk} onChange={onChange} />}
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

function Walks({ walks, walk, onChange }: { walks: WalkInfo[]; walk: string; onChange: Props["onChange"] }) {
  return (
    <fieldset>
      <legend>{COUNTS[walks.length] ?? "The walks"} of this study</legend>
      <p class="small soft">From the image lowest on an axis to the one highest on it.</p>
      <div class="walks">
        {walks.map((item) => (
          <button
            key={item.name}
            type="button"
            aria-pressed={walk === item.name}
            onClick={() => onChange({ a: item.start_row, b: item.end_row, walk: item.name })}
          >
            {item.name}
          </button>
        ))}
        {walks.length > 1 && (
          <button type="button" aria-pressed={walk === ALL_WALKS} onClick={() => onChange({ walk: ALL_WALKS })}>
            All {["", "", "two", "three", "four", "five", "six"][walks.length] ?? "walks"}
          </button>
        )}
      </div>
    </fieldset>
  );
}
