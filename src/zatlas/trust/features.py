"""Simple features of images that have names in plain words, and which of them change along a walk.

A change is named when it is large against what the real images do: at least one standard deviation of the feature over
them, and largely monotone along the walk. The error that the decoder makes in a feature is added to that deviation, or
else a feature in which the images hardly differ would be named for the decoder's faults.

All features are measured on the grey scale 0..1, on the mean over channels, and are finite for every image, constant
ones too. Brightness alone changes when a grey is added everywhere; brightness, contrast and edge density alone when
all greys are multiplied.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import spearmanr

__all__ = [
    "EDGE_GRADIENT",
    "FEATURES",
    "WORDS",
    "changes",
    "feature_spread",
    "image_features",
    "monotonicity",
    "named_changes",
]

EDGE_GRADIENT = 0.05
"""Gradient above which a pixel belongs to an edge [grey range per px]."""

WORDS = {
    "brightness": "brightness",
    "contrast": "contrast",
    "sharpness": "sharpness",
    "left_right_symmetry": "left-right symmetry",
    "centre_of_mass_y": "centre of mass, up-down",
    "centre_of_mass_x": "centre of mass, left-right",
    "edge_density": "edge density",
}
"""The features and their names in plain words."""

FEATURES = tuple(WORDS)

_DIRECTIONS = {"centre_of_mass_y": ("moves down", "moves up"), "centre_of_mass_x": ("moves right", "moves left")}
_SMALLEST_SPREAD = 5e-3  # about one grey level of 8 bits: data that vary less do not vary to the eye
_LEAST_RATIO = 1.0
_LEAST_MONOTONE = 0.8
_CHUNK_ELEMENTS = 4_000_000
_NO_CONTRAST = 1e-6


def image_features(images: Float[np.ndarray, "n c h w"], *, edge_gradient: float = EDGE_GRADIENT) -> pd.DataFrame:
    """Measure each image.

    brightness: mean grey.
    contrast: standard deviation of the greys.
    sharpness: mean size of the gradient per pixel, divided by the contrast; 0 without contrast.
    left_right_symmetry: correlation of the image with its mirror image; 1 without contrast.
    centre_of_mass_y, centre_of_mass_x: centre of mass of the brightness above the image's darkest percentile, as a
        share of height and width from the top left corner; 0.5 without contrast.
    edge_density: share of pixels whose gradient exceeds `edge_gradient`.

    Args:
        images: On the grey scale 0..1; at least 2 px high and wide.
        edge_gradient: See above [grey range per px].

    Returns:
        One row per image, one column per feature.
    """
    n, _, h, w = images.shape
    chunk = max(1, _CHUNK_ELEMENTS // max(h * w, 1))
    parts = [_measure(images[start : start + chunk], edge_gradient) for start in range(0, n, chunk)]
    values = np.concatenate(parts) if parts else np.zeros((0, len(FEATURES)))
    return pd.DataFrame(values, columns=list(FEATURES))


def _measure(images: np.ndarray, edge_gradient: float) -> np.ndarray:
    grey = images.mean(axis=1, dtype=np.float64)
    brightness, contrast = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    is_flat = contrast < _NO_CONTRAST
    divisor = np.where(is_flat, 1.0, contrast)
    along_y, along_x = np.gradient(grey, axis=(1, 2))
    gradient = np.hypot(along_y, along_x)
    sharpness = np.where(is_flat, 0.0, gradient.mean(axis=(1, 2)) / divisor)
    standard = (grey - brightness[:, None, None]) / divisor[:, None, None]
    symmetry = np.where(is_flat, 1.0, (standard * standard[:, :, ::-1]).mean(axis=(1, 2)))
    centre_y, centre_x = _centres_of_mass(grey, is_flat)
    edges = (gradient > edge_gradient).mean(axis=(1, 2))
    return np.stack([brightness, contrast, sharpness, symmetry, centre_y, centre_x, edges], axis=1)


def _centres_of_mass(grey: np.ndarray, is_flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre of mass of what is brighter than the darkest percentile, which an added grey does not move."""
    _, h, w = grey.shape
    weight = np.clip(grey - np.percentile(grey, 1, axis=(1, 2))[:, None, None], 0, None)
    total = weight.sum(axis=(1, 2))
    has_mass = (total > 0) & ~is_flat
    divisor = np.where(has_mass, total, 1.0)
    y = weight.sum(axis=2) @ ((np.arange(h) + 0.5) / h) / divisor
    x = weight.sum(axis=1) @ ((np.arange(w) + 0.5) / w) / divisor
    return np.where(has_mass, y, 0.5), np.where(has_mass, x, 0.5)


def feature_spread(features: pd.DataFrame, reconstructed: pd.DataFrame | None = None) -> dict[str, float]:
    """The spread of each feature against which changes are judged.

    sqrt(s^2 + e^2), where s is the standard deviation of the feature over the real images, and e that of the error
    which the model makes in it; a constant error (blur that lowers all sharpness) cancels in a change and is not in e.

    Args:
        features: Of the real images, one row each.
        reconstructed: Of the same images through the model; without them e is 0.
    """
    spread = {}
    for name in features.columns:
        real = features[name].to_numpy(np.float64)
        error = 0.0 if reconstructed is None else float((reconstructed[name].to_numpy(np.float64) - real).std())
        spread[str(name)] = float(np.hypot(real.std(), error))
    return spread


def changes(features: pd.DataFrame, spread: Mapping[str, float]) -> pd.DataFrame:
    """How each feature changes along a walk.

    Args:
        features: One row per decoded image of the walk, in order.
        spread: Of each feature (`feature_spread`).

    Returns:
        One row per feature, largest ratio first: feature, words, start, end, change (end - start), spread, ratio
        (|change| / spread), monotone (Spearman's rank correlation with the position).
    """
    rows = []
    for name in features.columns:
        values = features[name].to_numpy(np.float64)
        change, own_spread = float(values[-1] - values[0]), float(spread[str(name)])
        rows.append(
            {
                "feature": str(name),
                "words": WORDS.get(str(name), str(name).replace("_", " ")),
                "start": float(values[0]),
                "end": float(values[-1]),
                "change": change,
                "spread": own_spread,
                "ratio": abs(change) / max(own_spread, _SMALLEST_SPREAD),
                "monotone": monotonicity(values),
            }
        )
    return pd.DataFrame(rows).sort_values("ratio", ascending=False, kind="stable", ignore_index=True)


def named_changes(
    features: pd.DataFrame, spread: Mapping[str, float], *, least_ratio: float = _LEAST_RATIO
) -> list[dict[str, str | float]]:
    """The changes worth naming, largest first: those of `least_ratio` spreads or more that are largely monotone.

    Args:
        features: One row per decoded image of the walk, in order.
        spread: Of each feature (`feature_spread`).
        least_ratio: Smallest |change| / spread.

    Returns:
        For each: the columns of `changes`, direction ("rises", "falls", "moves left", ...) and text, such as
        "brightness rises by 2.3 standard deviations of the images".
    """
    table = changes(features, spread)
    is_named = (table["ratio"] >= least_ratio) & (table["monotone"].abs() >= _LEAST_MONOTONE)
    return [_named(dict(row)) for row in table[is_named].to_dict("records")]


def _named(row: dict[object, object]) -> dict[str, str | float]:
    known: dict[str, str | float] = {str(key): value for key, value in row.items() if isinstance(value, str | float)}
    ratio, name = float(known["ratio"]), str(known["feature"])
    up, down = _DIRECTIONS.get(name, ("rises", "falls"))
    direction = up if float(known["change"]) > 0 else down
    plural = "" if f"{ratio:.1f}" == "1.0" else "s"
    text = f"{known['words']} {direction} by {ratio:.1f} standard deviation{plural} of the images"
    return {**known, "direction": direction, "text": text}


def monotonicity(values: Float[np.ndarray, " n"]) -> float:
    """Spearman's rank correlation of a sequence with its order: 1 rises throughout, -1 falls throughout, 0 constant.

    Example:
        >>> monotonicity(np.array([0.1, 0.2, 0.4])), monotonicity(np.array([1.0, 1.0, 1.0]))
        (1.0, 0.0)
    """
    # Steps far below a grey level are rounding of the decoder, not a change.
    values = np.round(np.asarray(values, np.float64), 9)
    if len(values) < 2 or np.ptp(values) == 0:
        return 0.0
    return round(float(spearmanr(values, np.arange(len(values))).statistic), 12)
