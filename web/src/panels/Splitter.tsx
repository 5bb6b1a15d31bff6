/** A bar between two columns, moved by pointer or arrow keys; the width is remembered. */

import { useState } from "preact/hooks";

const LEAST = 240;
const MOST = 640;

export function useColumnWidth(name: string, usual: number): [number, (width: number) => void] {
  const key = `zatlas-width-${name}`;
  const [width, setWidth] = useState(() => Number(recallSetting(key)) || usual);
  const set = (wanted: number) => {
    const next = Math.round(Math.max(LEAST, Math.min(MOST, wanted)));
    setWidth(next);
    rememberSetting(key, String(next));
  };
  return [width, set];
}

/** Browsers may refuse storage (private windows, files): then nothing is remembered. */
export function recallSetting(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function rememberSetting(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // not allowed here
  }
}

interface Props {
  label: string;
  width: number;
  onWidth: (width: number) => void;
  side: "left" | "right";
}

export function Splitter({ label, width, onWidth, side }: Props) {
  const sign = side === "left" ? 1 : -1;
  const onDown = (down: PointerEvent) => {
    const bar = down.currentTarget as HTMLElement;
    bar.setPointerCapture(down.pointerId);
    const move = (event: PointerEvent) => onWidth(width + sign * (event.clientX - down.clientX));
    const end = () => {
      bar.removeEventListener("pointermove", move);
      bar.removeEventListener("pointerup", end);
    };
    bar.addEventListener("pointermove", move);
    bar.addEventListener("pointerup", end);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    onWidth(width + sign * step);
  };
  return (
    <div
      class="splitter"
      role="separator"
      aria-orientation="vertical"
      aria-label={label}
      aria-valuenow={width}
      aria-valuemin={LEAST}
      aria-valuemax={MOST}
      tabIndex={0}
      onPointerDown={onDown}
      onKeyDown={onKey}
    />
  );
}
