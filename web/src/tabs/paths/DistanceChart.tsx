/** How far the path runs from the training images, with the two borders that the badges use. */

import { formatNumber } from "../../atlas";
import type { SupportInfo } from "../../manifest";
import { ticksFromZero } from "../../parts/charts/scale";
import { useWidth } from "../../parts/charts/useWidth";
import type { Curve, Stop } from "../../path";

interface Props {
  curve: Curve;
  stops: Stop[];
  support: SupportInfo;
  current: number | null;
  height?: number;
}

const LEFT = 40;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
const LEAST_WIDTH = 200;

export function DistanceChart({ curve, stops, support, current, height = 280 }: Props) {
  const [box, found] = useWidth<HTMLDivElement>(420);
  const width = Math.max(LEAST_WIDTH, found);
  const most = 1.12 * Math.max(support.near, ...curve.distances.filter(Number.isFinite));
  const x = (t: number) => LEFT + t * (width - LEFT - RIGHT);
  const y = (distance: number) => TOP + (1 - Math.min(1, distance / (most || 1))) * (height - TOP - BOTTOM);
  const line = curve.ts.map((t, i) => `${i ? "L" : "M"}${x(t).toFixed(1)} ${y(curve.distances[i]).toFixed(1)}`).join("");
  const shown = current === null ? null : stops[current];
  return (
    <div class="distance-chart" ref={box}>
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={inWords(stops, support)}>
        <Bands {...{ x, y, most, support }} isNames={false} />
        <Axes {...{ x, y, most, height }} />
        {shown && <line class="now" x1={x(shown.t)} x2={x(shown.t)} y1={TOP} y2={height - BOTTOM} />}
        <path class="curve" d={line} />
        {stops.map((stop) => (
          <circle
            key={stop.index}
            class={stop.index === current ? "stop now" : "stop"}
            cx={x(stop.t)}
            cy={y(stop.support.distance)}
            r={stop.index === current ? 5.5 : 3.2}
          />
        ))}
        <Bands {...{ x, y, most, support }} isNames />
      </svg>
    </div>
  );
}

interface BandsProps {
  x: (t: number) => number;
  y: (distance: number) => number;
  most: number;
  support: SupportInfo;
  /** The names of the bands, which lie over the curve, or else the bands, which lie under it. */
  isNames: boolean;
}

function Bands({ x, y, most, support: { within, near }, isNames }: BandsProps) {
  const bands = [
    { level: "within", low: 0, high: within, text: "● within the data" },
    { level: "near", low: within, high: near, text: "◐ near the data" },
    { level: "off", low: near, high: most, text: "○ off the data" },
  ];
  return (
    <>
      {bands.map(({ level, low, high, text }) => {
        const room = y(low) - y(high);
        return (
          <g key={level} class={`band ${level}`}>
            {!isNames && <rect x={x(0)} width={x(1) - x(0)} y={y(high)} height={Math.max(0, room)} />}
            {!isNames && level !== "off" && <line x1={x(0)} x2={x(1)} y1={y(high)} y2={y(high)} />}
            {isNames && room > 14 && (
              <text x={x(1) - 6} y={y(high) + 13} text-anchor="end">
                {text}
              </text>
            )}
          </g>
        );
      })}
    </>
  );
}

interface AxesProps {
  x: (t: number) => number;
  y: (distance: number) => number;
  most: number;
  height: number;
}

function Axes({ x, y, most, height }: AxesProps) {
  const bottom = height - BOTTOM;
  return (
    <g class="axes">
      <line x1={x(0)} x2={x(1)} y1={bottom} y2={bottom} />
      {ticksFromZero(most).map((value) => (
        <g key={value}>
          <line x1={x(0) - 4} x2={x(0)} y1={y(value)} y2={y(value)} />
          <text x={x(0) - 7} y={y(value) + 4} text-anchor="end">
            {formatNumber(value)}
          </text>
        </g>
      ))}
      <text class="end" x={x(0)} y={bottom + 15} text-anchor="middle">
        A
      </text>
      <text class="end" x={x(1)} y={bottom + 15} text-anchor="middle">
        B
      </text>
      <text x={(x(0) + x(1)) / 2} y={bottom + 15} text-anchor="middle">
        path, t
      </text>
    </g>
  );
}

function inWords(stops: Stop[], support: SupportInfo): string {
  const far = stops.reduce((worst, stop) => (stop.support.distance > worst.support.distance ? stop : worst), stops[0]);
  const number = (value: number) => formatNumber(value, 2);
  return (
    `Distance to the data along the path. Farthest at t = ${far.t.toFixed(2)}: ${number(far.support.distance)}. ` +
    `Within the data up to ${number(support.within)}, near them up to ${number(support.near)}.`
  );
}

/** The two borders in words. */
export function supportBorders({ within, near }: SupportInfo): string {
  const number = (value: number) => formatNumber(value, 2);
  return `● Within the data: up to ${number(within)}, as for 95 % of the training images. ◐ Near: up to ${number(near)}, as for 99.5 %. ○ Off: above.`;
}

