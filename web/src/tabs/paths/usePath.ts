/** The path that the Paths tab shows, for everything that draws it. */

import { useMemo } from "preact/hooks";
import type { Model } from "../../atlas";
import { useApp, useModel, usePart } from "../../app";
import type { PathState } from "../../store";
import { makePath, shownPath, type Path } from "../../path";

export interface UsedPath extends Path {
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
    return { ...makePath(model, { a: path.a, b: path.b }, path.kind, path.frames), model, path };
  }, [app, model, state]);
}
