/** Small drawings for buttons, in the colour of the text; the button itself says in words what it does. */

const PATHS = {
  pan: "M8 1v14M1 8h14M8 1 6 3.2M8 1l2 2.2M8 15l-2-2.2M8 15l2-2.2M1 8l2.2-2M1 8l2.2 2M15 8l-2.2-2M15 8l-2.2 2",
  lasso: "M8 2.5c3.6 0 6 1.7 6 4s-2.4 4-6 4-6-1.700-6-4 2.400-4 6-4M5 10.200c-.5 1.400-.2 2.700 1.200 3.600",
  box: "M2.500 3.500h11v9h-11z",
  probe: "M8 1.500v4M8 10.500v4M1.500 8h4M10.500 8h4M8 8h.01M12.500 8a4.500 4.500 0 1 1-9 0 4.500 4.500 0 0 1 9 0",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  locked: "M4 7.500h8v6H4zM5.500 7.500V5a2.500 2.500 0 0 1 5 0v2.500",
  unlocked: "M4 7.500h8v6H4zM5.500 7.500V5a2.500 2.500 0 0 1 4.800-1",
  reset: "M3.500 8a4.500 4.500 0 1 0 1.400-3.300M3 2.500v2.700h2.700",
  undo: "M3 7h6.500a3.500 3.500 0 0 1 0 7H6M3 7l3-3M3 7l3 3",
  redo: "M13 7H6.500a3.500 3.500 0 0 0 0 7H10M13 7l-3-3M13 7l-3 3",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4.500 6.500 8 10l3.500-3.500",
  link: "M6.500 9.500l3-3M7.500 4.500l1.300-1.300a2.600 2.600 0 0 1 3.700 3.700L11 8.400M8.500 11.500l-1.300 1.300a2.600 2.600 0 0 1-3.700-3.700L5 7.600",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
