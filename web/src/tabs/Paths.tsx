/** Ways through latent space: pictures from one real image to another, and whether the data support them. */

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { steer } from "../act";
import { useApp, useDecoded, useModel, usePart } from "../app";
import type { Model } from "../atlas";
import type { WalkInfo } from "../manifest";
import { FilmStrip } from "../parts/FilmStrip";
import { ordinal } from "../parts/SupportBadge";
import { MapPanel } from "../panels/MapPanel";
import type { PathState } from "../store";
import { borders, DistanceChart } from "./paths/DistanceChart";
import { Player } from "./paths/Player";
import { SaveButtons } from "./paths/SaveButtons";
import { usePath, type UsedPath } from "./paths/usePath";
import { ALL_WALKS, axisWalks, curveOf, makeWay, shownPath, stopsOf, supportCount, walkOf, type Stop } from "../path";
import { WayForm } from "./paths/WayForm";

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
        <WayForm info={model.info} path={path} onChange={change} />
      <div class="paths-main">
        {path.walk === ALL_WALKS ? (
          <AllWalks model={model} path={path} onOpen={(walk) => change({ a: walk.start_row, b: walk.end_row, walk: walk.name })} />
        ) : used === null ? (
          <p class="message">Choose an image for A and one for B: by name, from the map, or by one of the walks of this study.</p>
        ) : used.problem !== "" ? (
          <Problem used={used} onStraight={() => change({ kind: "straight" })} />
        ) : (
          <OneWay used={used} />
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
          Take the straight way
        </button>
      )}
    </div>
  );
}

function OneWay({ used }: { used: UsedPath }) {
  const app = useApp();
  const { model, path } = used;
  const stops = useMemo(() => stopsOf(app, model, used), [app, used]);
  const curve = useMemo(() => curveOf(app, model, used, stops), [app, used, stops]);
  const decoded = useDecoded(model, used.latents);
  const [current, go] = useCurrent(stops);
  const walk = walkOf(model, path);
  const onMap = useMemo(() => ({ z: used.latents, dots: stops.map((stop) => stop.index), ends: [used.a, used.b] as [number, number] }), [used, stops]);
  const frames = decoded.frames !== null && decoded.frames.n === stops.length ? decoded.frames : null;
  return (
    <>
      <div class="paths-top">
        <Player model={model} stops={stops} decoded={{ ...decoded, frames }} current={current} onGo={go} />
        <section class="card paths-facts" aria-label="What is known about the way">
          <h2>{walk ? `Lowest to highest on ${walk.name}` : "Distance to the data"}</h2>
          <p class="small soft">{used.words}</p>
          {walk?.note && <p class="small message">{walk.note}.</p>}
          <p class="small chart-title">↑ Distance to the {ordinal(model.info.support.k)} nearest training image</p>
          <DistanceChart curve={curve} stops={stops} support={model.info.support} current={current} />
          <p class="small">{supportCount(stops)}</p>
          <p class="small soft">{borders(model.info.support)}</p>
        </section>
        <div class="paths-map">
          <MapPanel path={onMap} isCompact />
        </div>
      </div>
      <section class="card" aria-label="Film strip">
        <div class="film-head">
          <h2>Film strip</h2>
          <SaveButtons used={used} stops={stops} frames={decoded.isBusy ? null : frames} title={walk?.name ?? ""} />
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

function AllWalks({ model, path, onOpen }: { model: Model; path: PathState; onOpen: (walk: WalkInfo) => void }) {
  return (
    <>
      {axisWalks(model.info.walks).map((walk) => (
        <StackedWalk key={`${model.info.name} ${walk.name}`} {...{ model, path, walk, onOpen }} />
      ))}
    </>
  );
}

interface StackedProps {
  model: Model;
  path: PathState;
  walk: WalkInfo;
  onOpen: (walk: WalkInfo) => void;
}

function StackedWalk({ model, path, walk, onOpen }: StackedProps) {
  const app = useApp();
  const used = useMemo<UsedPath>(() => {
    const way = makeWay(model, { a: walk.start_row, b: walk.end_row }, path.kind, path.frames);
    return { ...way, model, path: { ...path, a: walk.start_row, b: walk.end_row, walk: walk.name } };
  }, [model, walk, path.kind, path.frames]);
  const stops = useMemo(() => stopsOf(app, model, used), [app, used]);
  const decoded = useDecoded(model, used.latents);
  const frames = decoded.frames !== null && decoded.frames.n === stops.length ? decoded.frames : null;
  return (
    <section class="card" aria-label={`Walk ${walk.name}`}>
      <div class="film-head">
        <h2>{walk.name}, lowest to highest</h2>
        <button type="button" onClick={() => onOpen(walk)}>
          Look at it alone
        </button>
        {stops.length > 0 && <SaveButtons used={used} stops={stops} frames={decoded.isBusy ? null : frames} title={walk.name} />}
      </div>
      {walk.note !== "" && <p class="small message">{walk.note}.</p>}
      {used.problem !== "" && <p class="message problem">{used.problem}</p>}
      {decoded.error !== "" && <p class="message problem">No pictures: {decoded.error}</p>}
      {stops.length > 0 && (
        <FilmStrip {...{ model, stops, frames }} current={null} isStale={decoded.isBusy} onPick={() => onOpen(walk)} label={`Pictures along ${walk.name}`} />
      )}
      {stops.length > 0 && <p class="small soft">{supportCount(stops)}</p>}
    </section>
  );
}
