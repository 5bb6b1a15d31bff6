/** Text to the clipboard; where the page may not write there, into a box from which it can be taken. */

/** Answers whether the text is on the clipboard; if not, it stands in a dialog in `parent`, all of it marked. */
export async function copyText(text: string, parent: HTMLElement, what = "Text to copy"): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    showText(parent, text, what);
    return false;
  }
}

function showText(parent: HTMLElement, text: string, what: string): void {
  const dialog = document.createElement("dialog");
  dialog.className = "copy-dialog";
  dialog.setAttribute("aria-label", what);
  const title = document.createElement("h2");
  title.textContent = what;
  const words = document.createElement("p");
  words.className = "small soft";
  words.textContent = "This browser does not let the page copy. The text is marked: press Ctrl+C, on a Mac ⌘C.";
  const area = document.createElement("textarea");
  area.readOnly = true;
  area.spellcheck = false;
  area.wrap = "off";
  area.rows = Math.max(3, Math.min(24, text.split("\n").length + 1));
  area.value = text;
  area.setAttribute("aria-label", what);
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "Close";
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.append(title, words, area, close);
  parent.append(dialog);
  dialog.showModal();
  area.select();
}
