/** One stop of the path, large, with a slider that also steers, and an animation there and back. */

import { useEffect, useState } from "preact/hooks";
import type { Model } from "../../atlas";
import type { Decoded } from "../../app";
import { NearestReal } from "../../parts/FilmStrip";
import { AnotherDraw } from "../../parts/AnotherDraw";
import { GeneratedImage } from "../../parts/GeneratedImage";
import { SupportBadge, supportSentence } from "../../parts/SupportBadge";
import { nameOfStop, type Stop } from "../../path";

interface Props {
  model: Model;
  stops: Stop[];
  decoded: Decoded;
  current: number;
  onGo: (index: number) => void;
}

export function Player({ model, stops, decoded, current, onGo }: Props) {
  const last = stops.length - 1;
  const stop = stops[current];
  const player = usePlayer(current, last, onGo);
  const title = nameOfStop(model.info, stop, last);
  const { k } = model.info.support;
  const go = (index: number) => {
    player.stop();
    onGo(index);
  };
  return (
    <section class="card player" aria-label="One picture of the path, large">
      <div class="player-picture">
        <GeneratedImage frames={decoded.frames} index={current} label={`Picture at ${title}`} isStale={decoded.isBusy} />
      </div>
      <AnotherDraw model={model.info} />
      <div class="player-slider">
        <span aria-hidden="true">A</span>
        <input
          type="range"
          min={0}
          max={last}
          step={1}
          value={current}
          aria-label="Place on the path from A to B"
          aria-valuetext={`${title}, ${stop.support.level === "off" ? "off the data" : `${stop.support.level} the data`}`}
          onInput={(event) => go(Number(event.currentTarget.value))}
        />
        <span aria-hidden="true">B</span>
      </div>
      <div class="row">
        <button type="button" aria-label="Previous picture" disabled={current === 0} onClick={() => go(current - 1)}>
          ◀
        </button>
        <button
          type="button"
          class="primary"
          data-play
          disabled={player.isStill}
          title={player.isStill ? "Your system asks for little motion: step with the arrows" : "There and back again"}
          onClick={player.toggle}
        >
          {player.isOn ? "❚❚ Pause" : "▶ Play"}
        </button>
        <button type="button" aria-label="Next picture" disabled={current === last} onClick={() => go(current + 1)}>
          ▶
        </button>
        <span class="player-title">{title}</span>
      </div>
      <div>
        <SupportBadge value={stop.support} k={k} isShort />
        <p class="small soft">{supportSentence(stop.support, k)}</p>
      </div>
      {stop.nearest && <NearestReal row={stop.nearest.row} distance={stop.nearest.distance} />}
    </section>
  );
}

/** Goes from stop to stop, there and back; still where the system asks for little motion. */
function usePlayer(current: number, last: number, onGo: (index: number) => void) {
  const [isStill] = useState(() => window.matchMedia("(prefers-reduced-motion: reduce)").matches);
  const [isOn, setOn] = useState(false);
  const [step, setStep] = useState<1 | -1>(1);
  useEffect(() => {
    if (!isOn) return;
    const isEnd = current === 0 || current === last;
    const timer = setTimeout(
      () => {
        const next = current + step;
        const turn = next < 0 || next > last;
        if (turn) setStep(step === 1 ? -1 : 1);
        onGo(turn ? current - step : next);
      },
      frameDelayMs(last) * (isEnd ? 3 : 1),
    );
    return () => clearTimeout(timer);
  }, [isOn, current, step, last, onGo]);
  return { isOn, isStill, toggle: () => setOn(!isOn && !isStill), stop: () => setOn(false) };
}

/** Milliseconds between pictures: a path takes about two seconds, however many there are. */
export function frameDelayMs(last: number): number {
  return Math.max(50, Math.min(280, 2200 / last));
}
