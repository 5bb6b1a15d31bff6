/** Which ends, which kind of way, how many pictures; and the walks that belong to the study. */

import type { ModelInfo, WalkInfo } from "../../manifest";
import type { PathState } from "../../store";
import { Ends } from "./Ends";
import { ALL_WALKS, axisWalks, MOST_FRAMES } from "../../path";

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

const NUMBERS = ["", "one", "two", "three", "four", "five", "six", "seven"];

function Walks({ walks, walk, onChange }: { walks: WalkInfo[]; walk: string; onChange: Props["onChange"] }) {
  const axes = axisWalks(walks);
  const labels = walks.filter((item) => !axes.includes(item));
  const count = NUMBERS[axes.length] ?? "";
  return (
    <fieldset>
      <legend>{axes.length === 1 ? "The walk of this study" : `The ${count} walks of this study`.replace("  ", " ")}</legend>
      <p class="small soft">From the image lowest on an axis to the one highest on it.</p>
      <div class="walks">
        <WalkButtons walks={axes} walk={walk} onChange={onChange} />
        {axes.length > 1 && (
          <button type="button" aria-pressed={walk === ALL_WALKS} onClick={() => onChange({ walk: ALL_WALKS })}>
            All {count || "walks"}
          </button>
        )}
      </div>
      {labels.length > 0 && (
        <>
          <p class="small soft">From the lowest to the highest value of a label:</p>
          <div class="walks">
            <WalkButtons walks={labels} walk={walk} onChange={onChange} />
          </div>
        </>
      )}
    </fieldset>
  );
}

function WalkButtons({ walks, walk, onChange }: { walks: WalkInfo[]; walk: string; onChange: Props["onChange"] }) {
  return (
    <>
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
    </>
  );
}
