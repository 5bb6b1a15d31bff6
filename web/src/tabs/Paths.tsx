/** Paths through latent space: pictures from one real image to another, and whether the data support them. */

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { steer } from "../act";
import { useApp, useDecoded, useModel, usePart } from "../app";
import type { Model } from "../atlas";
import type { StudyPath } from "../manifest";
import { AnotherDraw } from "../parts/AnotherDraw";
import { FilmStrip } from "../parts/FilmStrip";
import { ordinal } from "../parts/SupportBadge";
import { MapPanel } from "../panels/MapPanel";
import { ALL_PATHS, axisPaths, curveOf, makePath, shownPath, stopsOf, studyPathOf, supportCount, type Stop } from "../path";
import type { PathState } from "../store";
import { supportBorders, DistanceChart } from "./paths/DistanceChart";
import { Player } from "./paths/Player";
import { SaveButtons } from "./paths/SaveButtons";
import { usePath, type UsedPath } from "./paths/usePath";
import { PathForm } from "./paths/PathForm";

export function Paths() {
  const app = useApp();
  const model = useModel();
  const state = usePart((all) => all.path);
  const used = usePath();
  if (model === null) return <p class="message">The model is being loaded …</p>;
  const path = shownPath(model, state, app.atlas.n);
  const change = (part: Partial<PathState>, gesture = "") => app.store.set({ path: { ...path, ...part } }, gesture);
  return (
    <div class="paths-tab">
      <div class="paths">
        <PathForm info={model.info} path={path} onChange={change} />
      <div class="paths-main">
        {path.walk === ALL_PATHS ? (
          <AllPaths model={model} path={path} onOpen={(studyPath) => change({ a: studyPath.start_row, b: studyPath.end_row, walk: studyPath.name })} />
        ) : used === null ? (
          <p class="message">Choose an image for A and one for B: by name, from the map, or by one of the paths of this study.</p>
        ) : used.problem !== "" ? (
          <Problem used={used} onStraight={() => change({ kind: "straight" })} />
        ) : (
          <OnePath used={used} />
        )}
      </div>
      </div>
    </div>
  );
}

function Problem({ used, onStraight }: { used: UsedPath; onStraight: () => void }) {
  return (
    <div class="message problem">
      <p>{used.problem}</p>
      {used.kind === "graph" && used.a !== used.b && (
        <button type="button" onClick={onStraight}>
          Take the straight path
        </button>
      )}
    </div>
  );
}

function OnePath({ used }: { used: UsedPath }) {
  const app = useApp();
  const { model, path } = used;
  const stops = useMemo(() => stopsOf(app, model, used), [app, used]);
  const curve = useMemo(() => curveOf(app, model, used, stops), [app, used, stops]);
  const decoded = useDecoded(model, used.latents);
  const [current, go] = useCurrent(stops);
  const studyPath = studyPathOf(model, path);
  const onMap = useMemo(() => ({ z: used.latents, dots: stops.map((stop) => stop.index), ends: [used.a, used.b] as [number, number] }), [used, stops]);
  const frames = decoded.frames !== null && decoded.frames.n === stops.length ? decoded.frames : null;
  return (
    <>
      <div class="paths-top">
        <Player model={model} stops={stops} decoded={{ ...decoded, frames }} current={current} onGo={go} />
        <section class="card paths-facts" aria-label="What is known about the path">
          <h2>{studyPath ? `Lowest to highest on ${studyPath.name}` : "Distance to the data"}</h2>
          <p class="small soft">{used.words}</p>
          {studyPath?.note && <p class="small message">{studyPath.note}.</p>}
          <p class="small chart-title">↑ Distance to the {ordinal(model.info.support.k)} nearest training image</p>
          <DistanceChart curve={curve} stops={stops} support={model.info.support} current={current} />
          <p class="small">{supportCount(stops)}</p>
          <p class="small soft">{supportBorders(model.info.support)}</p>
        </section>
        <div class="paths-map">
          <MapPanel path={onMap} isCompact />
        </div>
      </div>
      <section class="card" aria-label="Film strip">
        <div class="film-head">
          <h2>Film strip</h2>
          <SaveButtons used={used} stops={stops} frames={decoded.isBusy ? null : frames} title={studyPath?.name ?? ""} />
        </div>
        {decoded.error !== "" && <p class="message problem">No pictures: {decoded.error}</p>}
        <FilmStrip {...{ model, stops, frames, current }} isStale={decoded.isBusy} onPick={go} label="Pictures from A to B" />
      </section>
    </>
  );
}

/** The stop shown large: the one that was steered to, else the middle. Going to a stop steers there. */
function useCurrent(stops: Stop[]): [number, (index: number) => void] {
  const app = useApp();
  const origin = usePart((state) => state.origin);
  const last = stops.length - 1;
  const [t, setT] = useState(0.5);
  useEffect(() => {
    if (origin.kind === "path") setT(origin.t);
  }, [origin]);
  const go = useCallback(
    (index: number) => {
      const stop = stops[Math.max(0, Math.min(last, index))];
      setT(stop.t);
      steer(app, stop.z, { kind: "path", t: stop.t }, "path-go");
    },
    [app, stops, last],
  );
  return [Math.round(t * last), go];
}

function AllPaths({ model, path, onOpen }: { model: Model; path: PathState; onOpen: (studyPath: StudyPath) => void }) {
  return (
    <>
      <AnotherDraw model={model.info} hasWords />
      {axisPaths(model.info.walks).map((studyPath) => (
        <StackedPath key={`${model.info.name} ${studyPath.name}`} {...{ model, path, studyPath, onOpen }} />
      ))}
    </>
  );
}

interface StackedProps {
  model: Model;
  path: PathState;
  studyPath: StudyPath;
  onOpen: (studyPath: StudyPath) => void;
}

function StackedPath({ model, path, studyPath, onOpen }: StackedProps) {
  const app = useApp();
  const used = useMemo<UsedPath>(() => {
    const ends = { a: studyPath.start_row, b: studyPath.end_row };
    return { ...makePath(model, ends, path.kind, path.frames), model, path: { ...path, ...ends, walk: studyPath.name } };
  }, [model, studyPath, path.kind, path.frames]);
  const stops = useMemo(() => stopsOf(app, model, used), [app, used]);
  const decoded = useDecoded(model, used.latents);
  const frames = decoded.frames !== null && decoded.frames.n === stops.length ? decoded.frames : null;
  return (
    <section class="card" aria-label={`Path along ${studyPath.name}`}>
      <div class="film-head">
        <h2>{studyPath.name}, lowest to highest</h2>
        <button type="button" onClick={() => onOpen(studyPath)}>
          Look at it alone
        </button>
        {stops.length > 0 && <SaveButtons used={used} stops={stops} frames={decoded.isBusy ? null : frames} title={studyPath.name} />}
      </div>
      {studyPath.note !== "" && <p class="small message">{studyPath.note}.</p>}
      {used.problem !== "" && <p class="message problem">{used.problem}</p>}
      {decoded.error !== "" && <p class="message problem">No pictures: {decoded.error}</p>}
      {stops.length > 0 && (
        <FilmStrip {...{ model, stops, frames }} current={null} isStale={decoded.isBusy} onPick={() => onOpen(studyPath)} label={`Pictures along ${studyPath.name}`} />
      )}
      {stops.length > 0 && <p class="small soft">{supportCount(stops)}</p>}
    </section>
  );
}
