/** Handing files to the person: the browser saves them, nothing leaves the machine. */

export function save(name: string, content: BlobPart, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function saveCanvas(name: string, canvas: HTMLCanvasElement): Promise<void> {
  return new Promise((done) => {
    canvas.toBlob((blob) => {
      if (blob) save(name, blob, "image/png");
      done();
    }, "image/png");
  });
}

/** Text that a spreadsheet would run as a formula is made inert by an apostrophe. */
export function csvCell(value: string | number): string {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(rows: readonly (readonly (string | number)[])[]): string {
  return rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
}

/** The shortest number that is the same in float32. */
export function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return Number(value.toPrecision(9));
}
