/** How often each value of a label or group occurs in a cluster, beside how often it would by the cluster's size. */

import { useState } from "preact/hooks";
import type { Model } from "../../atlas";
import type { ClusterInfo } from "../../manifest";
import { Bar } from "../../parts/charts/Bar";
import { fixed, useColumnTitle } from "../common";
import { byDifference, compared, differenceSentence } from "./words";

const FEW = 5;
const MOST = 60;
const SIGNS = { more: "▲ more", fewer: "▼ fewer", "as expected": "" } as const;

export function Counts({ model, counts }: { model: Model; counts: ClusterInfo["counts"][number] }) {
  const [isOpen, setOpen] = useState(false);
  const title = useColumnTitle(model)(counts.column);
  const ordered = counts.values.length > FEW ? byDifference(counts.values) : counts.values;
  const shown = ordered.slice(0, isOpen ? MOST : FEW);
  const most = Math.max(1, ...shown.flatMap(({ n, expected }) => [n, expected]));
  return (
    <div class="count-table" role="group" aria-label={`Counts by ${title}`}>
      <h4>{title}</h4>
      <p class="small">{differenceSentence(counts.values)}</p>
      <table class="small">
        <thead>
          <tr>
            <th scope="col">value</th>
            <th scope="col" class="bar-cell">
              <span class="visually-hidden">bar; the stroke is the number expected</span>
            </th>
            <th scope="col" class="number">
              here
            </th>
            <th scope="col" class="number">
              expected
            </th>
            <th scope="col">
              <span class="visually-hidden">compared</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map(({ value, n, expected }) => (
            <tr key={value}>
              <th scope="row" class="value" title={value}>
                {value === "" ? "(empty)" : value}
              </th>
              <td class="bar-cell">
                <Bar value={n} most={most} expected={expected} />
              </td>
              <td class="number">{n}</td>
              <td class="number soft">{fixed(expected, expected < 10 ? 1 : 0)}</td>
              <td class="compared">{SIGNS[compared(n, expected)]}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {ordered.length > FEW && (
        <button type="button" class="quiet small" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Show fewer" : `Show ${Math.min(ordered.length, MOST) - FEW} more`}
        </button>
      )}
    </div>
  );
}
