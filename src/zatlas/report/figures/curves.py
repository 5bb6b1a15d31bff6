"""Figures of numbers: training curves, rate per dimension, probes, models side by side.

Each figure is a pure function of results; its companion `..._numbers` gives the plotted values as a table.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from zatlas.report.figures.style import (
    ink,
    muted,
    new_figure,
    other_colour,
    part_colour,
    part_word,
    plain,
    themed,
    tidy,
)
from zatlas.results.kinds import Comparison, ModelResults
from zatlas.results.levels import level_columns, level_rates
from zatlas.trust import evaluation

__all__ = [
    "best_epoch",
    "kept_epoch",
    "models_side_by_side",
    "models_side_by_side_numbers",
    "probes",
    "probes_numbers",
    "rates",
    "rates_numbers",
    "training_curves",
    "training_curves_numbers",
]

_PARTS = ("train", "validation", "test")
_LETTERS_SIDE_BY_SIDE = 14  # of the names of models under a panel; more are turned
_DASHES = {"train": "-", "validation": (0, (4, 1.5)), "test": (0, (1, 1))}


def best_epoch(history: pd.DataFrame, beta: float = 1.0) -> float | None:
    """The epoch whose weights are kept: with the lowest objective on the validation part; None without validation.

    Args:
        history: One row per epoch. Without `validation_objective_nats` (a training by zatlas 0.1.0) the objective was
            that of the running noise.
        beta: Weight of the rate in the objective.
    """
    if "validation_objective_nats" in history:
        epochs, objective = (history[name].to_numpy(dtype=float) for name in ("epoch", "validation_objective_nats"))
        return evaluation.best_epoch(epochs, objective)
    if "validation_distortion_nats" not in history:
        return None
    epochs, distortion, rate = (
        history[name].to_numpy(dtype=float) for name in ("epoch", "validation_distortion_nats", "validation_rate_nats")
    )
    return evaluation.best_epoch(epochs, distortion + beta * rate)


def kept_epoch(model: ModelResults) -> float | None:
    """The epoch whose weights are kept, by the record of the training, else by its history; 0: those it began with."""
    return float(model.kept_epoch) if model.kept_epoch is not None else best_epoch(model.history, model.beta)


_LEVEL_DASHES = ("-", "--", ":", "-.")


@themed
def training_curves(model: ModelResults, *, unit: str = "image") -> Figure:
    """Distortion, rate and ELBO per epoch of the three parts; the warm-up of the rate is shaded.

    With local latents also the validation rate of each level: z, and each map of them.

    Args:
        model: Of the study.
        unit: What the model sees: "image" or "tile".
    """
    has_levels = bool(level_columns(model))
    figure, axes = new_figure(11.6 if has_levels else 9.0, 3.0, 1, 4 if has_levels else 3)
    history = model.history
    for panel, name in zip(axes[0], ("distortion", "rate", "elbo"), strict=False):
        for part in _PARTS:
            column = f"{part}_{name}_nats"
            if column in history and history[column].notna().any():
                panel.plot(
                    history["epoch"],
                    history[column],
                    color=part_colour(part),
                    linestyle=_DASHES[part],
                    label=part_word(part),
                )
        _frame_epochs(panel, history, name, kept_epoch(model))
        panel.set_title(f"{'ELBO' if name == 'elbo' else name} [nats per {unit}]")
        panel.set_xlabel("epoch")
        tidy(panel)
    axes[0, 0].legend(loc="best")
    if has_levels:
        _level_curves(axes[0, 3], model, unit)
    return figure


def _level_curves(panel: Axes, model: ModelResults, unit: str) -> None:
    """The validation rate of each level, named at its last point; on a log scale, for they differ by tens."""
    rates = level_rates(model)
    for place, name in enumerate(rates):
        line = panel.plot(model.history["epoch"], rates[name], linestyle=_LEVEL_DASHES[place % len(_LEVEL_DASHES)],
                          color=part_colour("validation"))[0]  # fmt: skip
        line.set_label(name if name == "z" else f"local, {name}")
    if (rates.to_numpy(float) > 0).all():
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(f"rate by level [nats per {unit}]")
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panel.legend(loc="best")
    tidy(panel)


def _frame_epochs(panel: Axes, history: pd.DataFrame, name: str, kept: float | None) -> None:
    """Limit the axis to what follows the first epochs, shade the warm-up, mark the epoch whose weights are kept."""
    columns = [f"{part}_{name}_nats" for part in _PARTS if f"{part}_{name}_nats" in history]
    values = history[columns].to_numpy(dtype=float)
    settled = values[min(len(values) - 1, max(1, len(values) // 12)) :]
    settled = settled[np.isfinite(settled)]
    if settled.size and name != "rate":
        low, high = settled.min(), settled.max()
        margin = 0.06 * (high - low) or 1.0
        panel.set_ylim(low - margin, high + margin)
    if "kl_weight" in history and history["kl_weight"].max() > history["kl_weight"].min():
        full = history["kl_weight"] >= history["kl_weight"].max() * (1 - 1e-6)
        end = float(history["epoch"][full].iloc[0])
        panel.axvspan(float(history["epoch"].iloc[0]), end, color=other_colour(), alpha=0.16, linewidth=0)
        if name == "rate":
            first, known = (part[np.isfinite(part)] for part in (values[0], values))
            begins_high = first.size > 0 and bool(first.mean() > known.mean())
            panel.text(
                float(history["epoch"].iloc[0]),
                0.02 if begins_high else 0.98,
                " warm-up",
                transform=panel.get_xaxis_transform(),
                fontsize=7.5,
                color=muted(),
                va="bottom" if begins_high else "top",
            )
    if kept is not None:
        panel.axvline(kept, color=ink(), linewidth=0.8, linestyle=(0, (2, 2)))
        if name == "elbo":
            is_right = kept > history["epoch"].mean()
            panel.text(
                kept,
                0.03,
                f" best: {kept:g} " if kept else " best: the start ",
                transform=panel.get_xaxis_transform(),
                fontsize=7.5,
                color=ink(),
                ha="right" if is_right else "left",
                bbox={"facecolor": panel.figure.get_facecolor(), "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
            )
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def training_curves_numbers(model: ModelResults) -> pd.DataFrame:
    """The history of the training, one row per epoch."""
    return model.history


@themed
def rates(model: ModelResults, *, unit: str = "image") -> Figure:
    """Rate of each latent dimension as bars, highest first; collapsed dimensions are grey and hatched.

    Args:
        model: Of the study.
        unit: What the model sees: "image" or "tile".
    """
    table = rates_numbers(model)
    n = len(table)
    figure, axes = new_figure(min(9.0, max(4.6, 1.4 + 0.26 * n)), 2.9)
    panel = axes[0, 0]
    is_active = table["is_active"].to_numpy(dtype=bool)
    at = np.arange(n)
    panel.bar(at[is_active], table["rate_nats"][is_active], width=0.78, color=part_colour("train"), label="active")
    if not is_active.all():
        panel.bar(
            at[~is_active],
            table["rate_nats"][~is_active],
            width=0.78,
            facecolor=other_colour(),
            edgecolor=muted(),
            linewidth=0.5,
            hatch="////",
            label="collapsed: not used by the model",
        )
        panel.legend(loc="upper right")
    step = max(1, int(np.ceil(n / 34)))
    panel.set_xticks(at[::step], [f"z{i}" for i in table["dim"][::step]], fontsize=8 if n <= 16 else 7)
    panel.set_ylabel(f"rate [nats per {unit}]")
    panel.set_xlabel("latent dimension, by rate")
    panel.set_xlim(-0.7, n - 0.3)
    tidy(panel)
    return figure


def rates_numbers(model: ModelResults) -> pd.DataFrame:
    """Rate and use of each dimension, highest rate first."""
    rate = np.asarray(model.rate_per_dim, dtype=float)
    order = np.argsort(-rate, kind="stable")
    is_active = np.asarray(model.is_active, dtype=bool)
    return pd.DataFrame({"dim": order, "rate_nats": rate[order], "is_active": is_active[order]})


_SOURCES = (("score_latents", "latents", "o"), ("score_pca", "PCA of the same size", "D"))
_HISTOGRAM = ("score_histogram", "grey histogram alone", "s")


@themed
def probes(model: ModelResults) -> Figure:
    """How well a linear probe reads each label from the latents, from PCA, and from the grey histogram alone."""
    table = probes_numbers(model)
    kinds = list(dict.fromkeys(table["metric"]))
    sizes = [int((table["metric"] == kind).sum()) for kind in kinds]
    heights = [max(size, 1) + 0.6 for size in sizes]
    figure, axes = new_figure(8.2, 1.15 + 0.34 * sum(sizes) + 0.55 * len(kinds), len(kinds), 1, height_ratios=heights)
    for panel, kind in zip(axes[:, 0], kinds, strict=True):
        rows = table[table["metric"] == kind].reset_index(drop=True)
        at = np.arange(len(rows))[::-1]
        for (column, text, marker), colour in zip(
            (*_SOURCES, _HISTOGRAM), ("#0072B2", "#E69F00", other_colour()), strict=True
        ):
            if column in rows and rows[column].notna().any():
                panel.scatter(
                    rows[column].clip(lower=-0.1), at, color=colour, marker=marker, s=40, label=text, zorder=3
                )
        panel.set_yticks(at, [plain(label) for label in rows["label"]])
        panel.set_ylim(-0.6, len(rows) - 0.4)
        panel.set_xlim(-0.12, 1.03)
        panel.set_xlabel(f"{'R²' if kind.upper() == 'R2' else kind}, cross-validated")
        tidy(panel, grid="both")
    handles, texts = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper left", ncols=3)
    return figure


def probes_numbers(model: ModelResults) -> pd.DataFrame:
    """The probes' scores, one row per label."""
    return model.probes.reset_index(drop=True)


@themed
def models_side_by_side(models: Sequence[ModelResults], comparison: Comparison, *, unit: str = "image") -> Figure:
    """Distortion, rate, PSNR against PCA and active dimensions of all models.

    Args:
        models: Of the study.
        comparison: Of the models.
        unit: What they see: "image" or "tile".
    """
    figure, axes = new_figure(9.0, 3.1, 1, 4)
    at = np.arange(len(models))
    names = [plain(model.name, 24) for model in models]
    is_tight = sum(map(len, names)) > _LETTERS_SIDE_BY_SIDE
    for panel, (column, text) in zip(
        axes[0, :2], (("distortion_nats", "distortion"), ("rate_nats", "rate")), strict=True
    ):
        _part_dots(panel, models, column)
        panel.set_title(f"{text} [nats per {unit}]", fontsize=8.5)
    _part_dots(axes[0, 2], models, "psnr_db")
    pca = [_metric(model, "test", "pca_psnr_db") for model in models]
    axes[0, 2].scatter(at, pca, marker="D", s=34, facecolor="none", edgecolor=ink(), linewidth=1.1, label="PCA, test")
    axes[0, 2].set_title("PSNR [dB]", fontsize=8.5)
    active = [int(np.sum(model.is_active)) for model in models]
    sizes = [model.latent_dim for model in models]
    axes[0, 3].bar(at, sizes, width=0.55, color=other_colour(), alpha=0.35, label="latent size")
    axes[0, 3].bar(at, active, width=0.55, color=part_colour("train"), label="active")
    for x, n, size in zip(at, active, sizes, strict=True):
        words = f"{n}/{size}" if is_tight else f"{n} of {size}"
        axes[0, 3].text(x, size, words, ha="center", va="bottom", fontsize=8, color=ink())
    axes[0, 3].set_ylim(0, max(sizes) * 1.15)
    axes[0, 3].set_title("active dimensions", fontsize=8.5)
    for panel in axes[0]:
        panel.set_xticks(at, names, **({"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if is_tight else {}))
        panel.set_xlim(-0.6, len(models) - 0.4)
        tidy(panel)
    handles, texts = axes[0, 2].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=4)
    return figure


def _part_dots(panel: Axes, models: Sequence[ModelResults], column: str) -> None:
    markers = {"train": "o", "validation": "s", "test": "^"}
    is_joined = column != "distortion_nats" or len({model.likelihood for model in models}) == 1
    for part in _PARTS:
        values = [_metric(model, part, column) for model in models]
        if np.isfinite(values).any():
            panel.plot(
                np.arange(len(models)),
                values,
                color=part_colour(part),
                marker=markers[part],
                markersize=5.5,
                linewidth=1.1,
                linestyle=_DASHES[part] if is_joined else "none",
                label=part_word(part),
            )


def _metric(model: ModelResults, part: str, column: str) -> float:
    metrics = model.metrics
    if part not in metrics.index or column not in metrics:
        return float("nan")
    return float(metrics[column].astype(float)[part])


def models_side_by_side_numbers(models: Sequence[ModelResults], comparison: Comparison) -> pd.DataFrame:
    """Every metric of every model and part, one row each."""
    tables = []
    for model in models:
        table = model.metrics.rename_axis("part").reset_index()
        table.insert(0, "model", model.name)
        table["latent_dim"] = model.latent_dim
        table["active_dims"] = int(np.sum(model.is_active))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def matrix(values: pd.DataFrame, *, label: str, decimals: int = 2, size: float = 0.62) -> Figure:
    """A table of numbers as a cividis matrix with the numbers written in it."""
    numbers = values.to_numpy(dtype=float)
    n_rows, n_columns = numbers.shape
    figure, axes = new_figure(min(9.0, 2.3 + size * n_columns), min(9.0, 1.2 + 0.46 * n_rows))
    panel = axes[0, 0]
    high = float(np.nanmax(numbers)) if np.isfinite(numbers).any() else 1.0
    panel.imshow(numbers, cmap="cividis", vmin=0, vmax=high or 1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(numbers):
        colour = "#1c2127" if value > 0.55 * high else "#ffffff"
        text = f"{value:.{decimals}f}" if np.isfinite(value) else "–"
        panel.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    panel.set_xticks(range(n_columns), [plain(name, 18) for name in values.columns])
    panel.set_yticks(range(n_rows), [plain(name, 18) for name in values.index])
    panel.tick_params(length=0)
    panel.set_title(label, fontsize=9)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return figure
