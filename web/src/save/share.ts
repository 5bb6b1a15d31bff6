/** Text to the clipboard; where the page may not write there, into a box from which it can be taken. */

/** Answers whether the text is on the clipboard; if not, it stands in a dialog in `parent`. */
export async function copyText(text: string, parent: HTMLElement, what = "Text to copy"): Promise<boolean> {
  const isCopied = await toClipboard(text);
  if (!isCopied) showText(parent, text, what, NOT_ALLOWED);
  return isCopied;
}

const NOT_ALLOWED = "This browser does not let the page copy. The text is marked: press Ctrl+C, on a Mac ⌘C.";

async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** A dialog with the text, all of it marked, and a button that copies it. */
export function showText(parent: HTMLElement, text: string, what: string, words = ""): void {
  const dialog = document.createElement("dialog");
  dialog.className = "copy-dialog";
  dialog.setAttribute("aria-label", what);
  const area = document.createElement("textarea");
  area.readOnly = true;
  area.spellcheck = false;
  area.wrap = "off";
  area.rows = Math.max(3, Math.min(24, text.split("\n").length + 1));
  area.value = text;
  area.setAttribute("aria-label", what);
  const said = paragraph(words, "small soft");
  said.setAttribute("role", "status");
  const copy = button("Copy", async () => {
    said.textContent = (await toClipboard(text)) ? "Copied." : NOT_ALLOWED;
    area.select();
  });
  copy.className = "primary";
  const buttons = document.createElement("div");
  buttons.className = "row";
  buttons.append(copy, button("Close", () => dialog.close()), said);
  const title = document.createElement("h2");
  title.textContent = what;
  dialog.addEventListener("close", () => dialog.remove());
  dialog.append(title, area, buttons);
  parent.append(dialog);
  dialog.showModal();
  area.select();
}

function paragraph(words: string, className: string): HTMLParagraphElement {
  const element = document.createElement("p");
  element.className = className;
  element.textContent = words;
  return element;
}

function button(words: string, onClick: () => void): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = words;
  element.addEventListener("click", onClick);
  return element;
}
