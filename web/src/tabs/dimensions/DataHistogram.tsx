/** Where the images lie in one dimension, with the stretch of the traversal marked. */

import type { DimensionInfo } from "../../manifest";
import { linear, niceTicks, tickText } from "../../parts/charts/scale";
import { useWidth } from "../../parts/charts/useWidth";
import { fixed, imageCount } from "../common";

const HEIGHT = 92;
const FLOOR = 60;

export function DataHistogram({ dimension, n }: { dimension: DimensionInfo; n: number }) {
  const { dim, histogram, mean, sd, min, max } = dimension;
  const [holder, width] = useWidth<HTMLDivElement>(300);
  const low = Math.min(histogram.low, mean - 2 * sd);
  const high = Math.max(histogram.high, mean + 2 * sd);
  const px = linear([low, high], [4, width - 4]);
  const most = Math.max(1, ...histogram.counts);
  const step = (histogram.high - histogram.low) / Math.max(1, histogram.counts.length);
  const bars = histogram.counts
    .map((count, i) => {
      const [left, right] = [px(histogram.low + i * step), px(histogram.low + (i + 1) * step)];
      return count ? `M${left.toFixed(1)} ${FLOOR}V${(FLOOR - Math.max(1, (FLOOR * count) / most)).toFixed(1)}H${right.toFixed(1)}V${FLOOR}Z` : "";
    })
    .join("");
  const label = `Histogram of z${dim} over ${imageCount(n)}: from ${fixed(min)} to ${fixed(max)}, mean ${fixed(mean)}, standard deviation ${fixed(sd)}.`;
  return (
    <div ref={holder} class="chart data-histogram">
      <svg role="img" aria-label={label} width={width} height={HEIGHT}>
        <path class="bars" d={bars} />
        <g class="axes" aria-hidden="true">
          <line x1="4" x2={width - 4} y1={FLOOR} y2={FLOOR} />
          <path class="reach" d={`M${px(mean - 2 * sd)} ${FLOOR + 3.5}H${px(mean + 2 * sd)}`} />
          {niceTicks(low, high, Math.max(4, Math.floor(width / 60))).map((tick) => (
            <text key={tick} x={px(tick)} y={FLOOR + 18} text-anchor="middle">
              {tickText(tick)}
            </text>
          ))}
          <text class="axis-title" x={width / 2} y={HEIGHT - 1} text-anchor="middle">
            z{dim} of {imageCount(n)}; line: ±2 sd
          </text>
        </g>
      </svg>
    </div>
  );
}
