/** A button with what it opens below it; Escape closes it. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Icon } from "./Icon";

interface Props {
  title: string;
  /** What it opens; `close` for choices after which it is not needed any more. */
  children: (close: () => void) => ComponentChildren;
}

export function Menu({ title, children }: Props) {
  const [isOpen, setOpen] = useState(false);
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !isOpen) return;
    event.preventDefault();
    setOpen(false);
  };
  return (
    <span class="menu" onKeyDown={onKey}>
      <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {title} <Icon name="down" />
      </button>
      {isOpen && children(() => setOpen(false))}
    </span>
  );
}
