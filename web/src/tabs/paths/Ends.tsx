/** Choosing the two real images between which the path runs. */

import { useState } from "preact/hooks";
import { useApp, usePart } from "../../app";
import { RealImage } from "../../parts/RealImage";
import type { PathState } from "../../store";

const MOST_OPTIONS = 50;

interface Props {
  path: PathState;
  onChange: (change: Partial<PathState>) => void;
}

export function Ends({ path, onChange }: Props) {
  const focus = usePart((state) => state.focus);
  return (
    <fieldset class="ends">
      <legend class="visually-hidden">Ends of the path</legend>
      <End letter="A" row={path.a} focus={focus} onPick={(a) => onChange({ a, walk: "" })} />
      <button
        type="button"
        class="swap"
        disabled={path.a === null && path.b === null}
        onClick={() => onChange({ a: path.b, b: path.a, walk: "" })}
      >
        <span aria-hidden="true">⇅ </span>Swap A and B
      </button>
      <End letter="B" row={path.b} focus={focus} onPick={(b) => onChange({ b, walk: "" })} />
    </fieldset>
  );
}

interface EndProps {
  letter: "A" | "B";
  row: number | null;
  focus: number | null;
  onPick: (row: number) => void;
}

function End({ letter, row, focus, onPick }: EndProps) {
  const { atlas } = useApp();
  return (
    <div class="end">
      {row === null ? <span class="no-end">{letter}</span> : <RealImage row={row} />}
      <div class="end-words">
        <span class="end-name" title={row === null ? "" : atlas.names[row]}>
          <b>{letter}</b> {row === null ? "is not chosen" : atlas.names[row]}
        </span>
        <NameField letter={letter} row={row} onPick={onPick} />
        <button
          type="button"
          disabled={focus === null || focus === row}
          title={focus === null ? "No image is in focus: click one on the map first" : `Image in focus: ${atlas.names[focus]}`}
          onClick={() => focus !== null && onPick(focus)}
        >
          Set {letter} to image in focus
        </button>
      </div>
    </div>
  );
}

/** A field that offers the names that contain what is typed. */
function NameField({ letter, row, onPick }: Omit<EndProps, "focus">) {
  const { names } = useApp().atlas;
  const [text, setText] = useState("");
  const options = rowsByName(names, text);
  const id = `path-names-${letter}`;
  const take = (value: string, isFinal: boolean) => {
    const exact = names.indexOf(value);
    const found = exact >= 0 ? exact : isFinal && value !== "" ? (options[0] ?? -1) : -1;
    setText(found >= 0 ? "" : value);
    if (found >= 0) onPick(found);
  };
  const isUnknown = text !== "" && options.length === 0;
  return (
    <>
      <input
        type="search"
        list={id}
        value={text}
        placeholder={row === null ? "Find by name" : "Another, by name"}
        aria-label={`Image ${letter}, by name`}
        aria-invalid={isUnknown}
        onInput={(event) => take(event.currentTarget.value, false)}
        onKeyDown={(event) => event.key === "Enter" && take(event.currentTarget.value, true)}
      />
      <datalist id={id}>
        {options.map((option) => (
          <option key={option} value={names[option]} />
        ))}
      </datalist>
      {isUnknown && <span class="small soft">No image has this in its name.</span>}
    </>
  );
}

/** Rows whose names contain the text, those that begin with it first, at most 50. */
export function rowsByName(names: readonly string[], text: string): number[] {
  const wanted = text.trim().toLowerCase();
  const first: number[] = [];
  const later: number[] = [];
  for (let row = 0; row < names.length && first.length < MOST_OPTIONS; row++) {
    const at = names[row].toLowerCase().indexOf(wanted);
    if (at === 0) first.push(row);
    else if (at > 0 && later.length < MOST_OPTIONS) later.push(row);
  }
  return [...first, ...later].slice(0, MOST_OPTIONS);
}
