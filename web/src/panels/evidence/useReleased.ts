/** A value that follows at once, or only when it has rested a moment (for decoders too slow to follow a slider). */

import { useEffect, useState } from "preact/hooks";

const REST_MS = 250;

export function useReleased<T>(value: T, isHeldBack: boolean): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    if (!isHeldBack) return;
    const timer = setTimeout(() => setRested(value), REST_MS);
    return () => clearTimeout(timer);
  }, [value, isHeldBack]);
  return isHeldBack ? rested : value;
}
