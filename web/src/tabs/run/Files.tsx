/** The files of the bundle with their sizes and hashes, folded away. */

import { useState } from "preact/hooks";
import type { Manifest } from "../../manifest";
import { bytesText, WideTable } from "../common";

export function Files({ files }: { files: Manifest["files"] }) {
  const [isOpen, setOpen] = useState(false);
  const entries = Object.entries(files);
  const total = entries.reduce((sum, [, file]) => sum + file.bytes, 0);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {entries.length} files, {bytesText(total)}
      </summary>
      {isOpen && (
        <WideTable label="Files of this atlas">
          <table class="small files">
            <thead>
              <tr>
                <th scope="col">File</th>
                <th scope="col" class="number">
                  Size
                </th>
                <th scope="col">sha256</th>
              </tr>
            </thead>
            <tbody>
              {entries.map(([path, { bytes, sha256 }]) => (
                <tr key={path}>
                  <th scope="row">{path}</th>
                  <td class="number">{bytesText(bytes)}</td>
                  <td>
                    <code>{sha256}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </WideTable>
      )}
    </details>
  );
}
