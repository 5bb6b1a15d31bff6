/** All styles as one sheet that the page adopts: no style elements, so that a strict security policy allows it. */

import base from "./base.css?inline";
import shell from "./shell.css?inline";
import panels from "./panels.css?inline";
import paths from "./paths.css?inline";
import tabs from "./tabs.css?inline";

export function styleSheet(): CSSStyleSheet {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync([base, shell, panels, paths, tabs].join("\n"));
  return sheet;
}
