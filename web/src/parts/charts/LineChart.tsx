/** Lines over a shared axis, such as training curves; the numbers stand in a table below. */

import { useState } from "preact/hooks";
import { formatNumber } from "../../atlas";
import { extent, linear, niceTicks, tickText } from "./scale";
import { useWidth } from "./useWidth";

export interface Line {
  name: string;
  /** One value per x; null is a gap. */
  values: readonly (number | null)[];
  /** Colour and dashes, see tabs.css. */
  look: 1 | 2 | 3;
}

interface Props {
  title: string;
  x: readonly number[];
  xTitle: string;
  yTitle: string;
  lines: readonly Line[];
  /** A vertical line with words, such as the best epoch. */
  mark?: { x: number; text: string } | null;
  height?: number;
}

const LEFT = 62;
const RIGHT = 12;
const TOP = 24;
const BOTTOM = 38;

export function LineChart({ title, x, xTitle, yTitle, lines, mark = null, height = 210 }: Props) {
  const [holder, width] = useWidth<HTMLDivElement>(420);
  const [at, setAt] = useState<number | null>(null);
  const yRange = extent(lines.map((line) => line.values));
  const xRange = extent([x]);
  if (yRange === null || xRange === null) return <p class="soft">{title}: no numbers were kept.</p>;
  const pad = (yRange[1] - yRange[0] || Math.abs(yRange[0]) || 1) * 0.04;
  const yEnds: [number, number] = [yRange[0] - pad, yRange[1] + pad];
  const px = linear(xRange, [LEFT, width - RIGHT]);
  const py = linear(yEnds, [height - BOTTOM, TOP]);
  const nearest = (place: number) => x.reduce((best, value, i) => (Math.abs(px(value) - place) < Math.abs(px(x[best]) - place) ? i : best), 0);
  return (
    <figure class="chart">
      <figcaption>
        <h3>{title}</h3>
        <ul class="chart-legend">
          {lines.map((line) => (
            <li key={line.name}>
              <svg width="26" height="8" aria-hidden="true">
                <path class={`line look-${line.look}`} d="M1 4H25" />
              </svg>
              {line.name}
            </li>
          ))}
          {mark && (
            <li>
              <svg width="8" height="14" aria-hidden="true">
                <path class="mark" d="M4 0V14" />
              </svg>
              {mark.text}
            </li>
          )}
        </ul>
      </figcaption>
      <div ref={holder} class="chart-holder">
        <svg
          role="img"
          aria-label={`${title}: ${inWords(x, xTitle, lines)}`}
          width={width}
          height={height}
          onPointerMove={(event) => setAt(nearest(event.offsetX))}
          onPointerLeave={() => setAt(null)}
        >
          <Axes px={px} py={py} xRange={xRange} yEnds={yEnds} width={width} height={height} xTitle={xTitle} yTitle={yTitle} />
          {mark && xRange[0] <= mark.x && mark.x <= xRange[1] && <path class="mark" d={`M${px(mark.x)} ${TOP}V${height - BOTTOM}`} />}
          {lines.map((line) => (
            <path key={line.name} class={`line look-${line.look}`} d={linePath(x, line.values, px, py)} />
          ))}
          {at !== null && <line class="reading" x1={px(x[at])} x2={px(x[at])} y1={TOP} y2={height - BOTTOM} />}
          {at !== null && lines.map((line) => <Dot key={line.name} line={line} i={at} x={px(x[at])} py={py} />)}
        </svg>
      </div>
      <p class="small soft chart-reading">
        {at === null ? "\u00a0" : `${xTitle} ${x[at]}: ${lines.map((line) => `${line.name} ${numberText(line.values[at])}`).join(", ")}`}
      </p>
      <Numbers x={x} xTitle={xTitle} lines={lines} title={title} />
    </figure>
  );
}

type Place = (value: number) => number;

function Axes(props: { px: Place; py: Place; xRange: [number, number]; yEnds: [number, number]; width: number; height: number; xTitle: string; yTitle: string }) {
  const { px, py, xRange, yEnds, width, height, xTitle, yTitle } = props;
  const floor = height - BOTTOM;
  return (
    <g class="axes" aria-hidden="true">
      {niceTicks(yEnds[0], yEnds[1], 4).map((tick) => (
        <g key={tick}>
          <line class="grid" x1={LEFT} x2={width - RIGHT} y1={py(tick)} y2={py(tick)} />
          <text x={LEFT - 6} y={py(tick)} dy="0.32em" text-anchor="end">
            {tickText(tick)}
          </text>
        </g>
      ))}
      {niceTicks(xRange[0], xRange[1], Math.max(2, Math.floor(width / 56))).map((tick) => (
        <text key={tick} x={px(tick)} y={floor + 15} text-anchor="middle">
          {tickText(tick)}
        </text>
      ))}
      <line x1={LEFT} x2={width - RIGHT} y1={floor} y2={floor} />
      <text class="axis-title" x={(LEFT + width - RIGHT) / 2} y={height - 4} text-anchor="middle">
        {xTitle}
      </text>
      <text class="axis-title" x={2} y={10}>
        {yTitle}
      </text>
    </g>
  );
}

function Dot({ line, i, x, py }: { line: Line; i: number; x: number; py: Place }) {
  const value = line.values[i];
  return value === null || value === undefined ? null : <circle class={`dot look-${line.look}`} cx={x} cy={py(value)} r="3.5" />;
}

function Numbers({ x, xTitle, lines, title }: { x: readonly number[]; xTitle: string; lines: readonly Line[]; title: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="numbers" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        The numbers<span class="visually-hidden"> of {title}</span>
      </summary>
      {isOpen && (
        <div class="scroll-box" tabIndex={0} role="region" aria-label={`Numbers of ${title}`}>
          <table class="small">
            <thead>
              <tr>
                <th class="number">{xTitle}</th>
                {lines.map((line) => (
                  <th key={line.name} class="number">
                    {line.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {x.map((value, i) => (
                <tr key={value}>
                  <td class="number">{value}</td>
                  {lines.map((line) => (
                    <td key={line.name} class="number">
                      {numberText(line.values[i])}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

function numberText(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : formatNumber(value, 5);
}

/** First and last value of each line, for people who do not see the chart. */
function inWords(x: readonly number[], xTitle: string, lines: readonly Line[]): string {
  const ends = lines.map(({ name, values }) => {
    const known = values.flatMap((value, i) => (value === null || value === undefined ? [] : [i]));
    if (known.length === 0) return `${name} not known`;
    const [first, last] = [known[0], known[known.length - 1]];
    return `${name} from ${numberText(values[first])} at ${xTitle} ${x[first]} to ${numberText(values[last])} at ${xTitle} ${x[last]}`;
  });
  return `${ends.join("; ")}.`;
}

/** An SVG path that leaves gaps where values are missing. */
export function linePath(x: readonly number[], values: readonly (number | null)[], px: Place, py: Place): string {
  let isDown = false;
  return values
    .map((value, i) => {
      if (value === null || value === undefined || !Number.isFinite(value)) {
        isDown = false;
        return "";
      }
      const command = isDown ? "L" : "M";
      isDown = true;
      return `${command}${px(x[i]).toFixed(1)} ${py(value).toFixed(1)}`;
    })
    .join("");
}
