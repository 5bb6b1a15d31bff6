"""Linear probes: what can be read from latents by a linear rule, beside what the grey histogram alone gives away.

Ridge regression for numbers (R2), logistic regression for categories (balanced accuracy), always cross-validated, with
folds that never part a group (patient, brain) or an image. If the histogram reads a label as well as the latents do,
the label may be stain or exposure rather than anatomy.
"""

import re
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from zatlas.compute import one_thread
from zatlas.randomness import derived_seed

__all__ = ["Probe", "grey_histogram", "label_kind", "linear_probe", "means_by"]

_FOLDS = 5
_LEAST_GROUPS = 3
_LEAST_IMAGES = 20
_MOST_CLASSES = 20
_ALPHAS = np.logspace(-3, 5, 17)
_INDEX_LIKE = re.compile(
    r"^(index|idx|row|number|no|nr|id|uid|name|file|filename|path|image|image_?id|.*_id"
    r"|(patient|subject|case|animal|donor|person)(_?(no|nr|number|name))?)$",
    re.IGNORECASE,
)
_SIZE_LIKE = re.compile(r"^(height|width|channels|dtype|y_px|x_px|size_px)$", re.IGNORECASE)


@dataclass(frozen=True)
class Probe:
    """How well a label is read, cross-validated.

    Attributes:
        kind: "quantity" or "categories".
        metric: "R2" (1 perfect, 0 no better than the mean of the training folds, below 0 worse) or "balanced
            accuracy" (mean recall of the classes; 1 perfect).
        score: Of held-out predictions.
        null: Score without reading anything: 0 for R2, 1 / number of classes for balanced accuracy.
        n: Images with a known label.
        n_classes: Number of classes, 0 for a quantity.
        is_grouped: Whether folds keep groups together.
    """

    kind: str
    metric: str
    score: float
    null: float
    n: int
    n_classes: int
    is_grouped: bool


def label_kind(column: "pd.Series[float]", name: str = "") -> str:
    """What a label column is to a probe: "quantity", "categories", or "" when it is not worth one.

    Left out: names, paths, patients and running numbers (unique whole numbers or text), sizes, constants, text with
    more than 20 values, and columns known for fewer than 20 images. Booleans, text and categories with 2 to 20 values,
    each seen at least 3 times, are categories; numbers with 2 values too, other numbers are quantities.
    """
    if _SIZE_LIKE.match(name) or _INDEX_LIKE.match(name):
        return ""
    known = column.dropna()
    n_values = known.nunique()
    if len(known) < _LEAST_IMAGES or n_values < 2:
        return ""
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and n_values > 2:
        values = known.to_numpy(np.float64)
        if not np.isfinite(values).all():
            return ""
        is_running = n_values == len(known) and bool((values == np.round(values)).all()) and _is_even_sequence(values)
        return "" if is_running else "quantity"
    if n_values > _MOST_CLASSES or known.astype(str).value_counts().min() < 3:
        return ""
    return "categories"


def _is_even_sequence(values: np.ndarray) -> bool:
    """Whether whole numbers fill their range so densely that they count something (0, 1, 2, ... with few gaps)."""
    return bool(np.ptp(values) < 4 * len(values))


def linear_probe(
    features: Float[np.ndarray, "n f"],
    labels: "pd.Series[float]",
    groups: np.ndarray | None = None,
    *,
    kind: str = "",
    seed: int = 0,
) -> Probe | None:
    """Read a label from features by a linear rule and score it on folds that were kept out.

    Features are standardised by the training folds. The ridge penalty is chosen inside the training folds by
    leave-one-out; logistic regression weighs classes equally, with penalty 1.

    Args:
        features: One row per image: latents, PCA scores, a grey histogram.
        labels: One value per image; missing ones are left out.
        groups: Group of each image; with 3 or more different ones no group is in two folds.
        kind: "quantity" or "categories"; by default `label_kind` decides.
        seed: Of the folds.

    Returns:
        The score, or None when the label is not worth a probe or the folds cannot be made.
    """
    labels = labels.reset_index(drop=True)
    kind = kind or label_kind(labels)
    is_known = labels.notna().to_numpy()
    if not kind or is_known.sum() < _LEAST_IMAGES:
        return None
    x = np.asarray(features, np.float64)[is_known]
    own_groups = (
        np.unique(np.asarray(groups)[is_known].astype(str), return_inverse=True)[1] if groups is not None else None
    )
    is_grouped = own_groups is not None and len(np.unique(own_groups)) >= _LEAST_GROUPS
    fold_groups = own_groups if is_grouped else None
    if kind == "quantity":
        y = labels[is_known].to_numpy(np.float64)
        score = _r2(x, y, fold_groups, seed)
        return Probe(kind, "R2", score, 0.0, len(y), 0, is_grouped)
    classes, codes = np.unique(labels[is_known].astype(str).to_numpy(), return_inverse=True)
    score = _balanced_accuracy(x, codes, fold_groups, seed)
    return Probe(kind, "balanced accuracy", score, 1 / len(classes), len(codes), len(classes), is_grouped)


def _r2(x: np.ndarray, y: np.ndarray, groups: Int[np.ndarray, " n"] | None, seed: int) -> float:
    """1 - squared error / squared error of predicting the mean of the training folds."""
    if groups is None:
        folds = KFold(_FOLDS, shuffle=True, random_state=derived_seed(seed, "probe")).split(x)
    else:
        n_folds = min(_FOLDS, len(np.unique(groups)))
        folds = GroupKFold(n_folds, shuffle=True, random_state=derived_seed(seed, "probe")).split(x, y, groups)
    error = null = 0.0
    for fitted, judged in folds:
        train, test = _standardised(x[fitted], x[judged])
        with one_thread():
            predicted = RidgeCV(alphas=_ALPHAS).fit(train, y[fitted]).predict(test)
        error += float(((y[judged] - predicted) ** 2).sum())
        null += float(((y[judged] - y[fitted].mean()) ** 2).sum())
    return 1 - error / null if null > 0 else float("nan")


def _balanced_accuracy(x: np.ndarray, codes: np.ndarray, groups: np.ndarray | None, seed: int) -> float:
    """Mean recall of the classes over all held-out predictions."""
    state = derived_seed(seed, "probe")
    n_folds = min(_FOLDS, max(2, int(np.bincount(codes).min())))
    with warnings.catch_warnings():
        # A class with fewer members or groups than folds is in some folds not at all, which the score pays for.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        if groups is None:
            folds = list(StratifiedKFold(n_folds, shuffle=True, random_state=state).split(x, codes))
        else:
            n_folds = min(n_folds, len(np.unique(groups)))
            folds = list(StratifiedGroupKFold(n_folds, shuffle=True, random_state=state).split(x, codes, groups))
    predicted = np.full(len(codes), -1)
    for fitted, judged in folds:
        train, test = _standardised(x[fitted], x[judged])
        known = np.unique(codes[fitted])
        if len(known) < 2:
            predicted[judged] = known[0]
            continue
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(class_weight="balanced", max_iter=300).fit(train, codes[fitted])
        predicted[judged] = model.predict(test)
    present = np.unique(codes)
    return float(recall_score(codes, predicted, labels=present, average="macro", zero_division=0))


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    center, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 1e-9 * max(float(scale.max(initial=0.0)), 1e-300), scale, np.inf)
    return (train - center) / scale, (test - center) / scale


def grey_histogram(images: Float[np.ndarray, "n c h w"], bins: int = 16) -> Float[np.ndarray, "n b"]:
    """Share of the pixels of each image in equal bins of the grey scale 0..1, channels one after another.

    Example:
        >>> grey_histogram(np.array([[[[0.0, 0.0], [0.0, 1.0]]]]), bins=2)
        array([[0.75, 0.25]])
    """
    n, c = images.shape[:2]
    codes = np.clip((images.reshape(n * c, -1) * bins).astype(np.int64), 0, bins - 1)
    codes += np.arange(n * c)[:, None] * bins
    counts = np.bincount(codes.ravel(), minlength=n * c * bins).reshape(n, c * bins)
    return np.asarray(counts / codes.shape[1])


def means_by(codes: Int[np.ndarray, " n"], features: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "m f"]:
    """Mean of the features of each thing that rows belong to, such as of an image over its tiles.

    Args:
        codes: Which of the m things a row belongs to, 0 to m - 1; each has a row.
        features: One row of features each.

    Example:
        >>> means_by(np.array([0, 1, 1]), np.array([[5.0], [1.0], [2.0]]))
        array([[5. ],
               [1.5]])
    """
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, codes, features)
    return np.asarray(sums / counts[:, None])
