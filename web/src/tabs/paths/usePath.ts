/** The way that the Paths tab shows, for everything that draws it. */

import { useMemo } from "preact/hooks";
import type { Model } from "../../atlas";
import { useApp, useModel, usePart } from "../../app";
import type { PathState } from "../../store";
import { makeWay, shownPath, type Way } from "../../path";

export interface UsedPath extends Way {
  model: Model;
  path: PathState;
}

/** Null while the model is loading or an end is missing. */
export function usePath(): UsedPath | null {
  const app = useApp();
  const model = useModel();
  const state = usePart((all) => all.path);
  return useMemo(() => {
    if (model === null) return null;
    const path = shownPath(model, state, app.atlas.n);
    if (path.a === null || path.b === null) return null;
    return { ...makeWay(model, { a: path.a, b: path.b }, path.kind, path.frames), model, path };
  }, [app, model, state]);
}
