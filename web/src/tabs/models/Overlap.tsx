/** A square table of the neighbours that models share. */

import type { ComparisonInfo } from "../../manifest";
import { percent, WideTable } from "../common";

export function Overlap({ overlap: { names, values } }: { overlap: ComparisonInfo["neighbour_overlap"] }) {
  return (
    <WideTable label="Neighbours shared between models">
      <table class="heat small square">
        <thead>
          <tr>
            <td />
            {names.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {names.map((name, i) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              {names.map((other, j) => {
                const value = values[i]?.[j] ?? null;
                return (
                  <td key={other} class={`heat-cell ${i === j || value === null ? "" : "positive"}`} style={{ "--strength": `${Math.round(100 * (value ?? 0))}%` }}>
                    {i === j || value === null ? "–" : percent(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </WideTable>
  );
}
