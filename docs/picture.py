"""The picture of the README, composed from the study of the tutorial on chest radiographs.

python docs/picture.py xray-study z16 lung_size docs/_static/zatlas.png
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zatlas import Study
from zatlas.report.figures.style import GENERATED, muted, theme
from zatlas.results.kinds import ModelResults


def picture(study: Study, name: str, label: str) -> Figure:
    """Reconstructions of test images, the map of the latents coloured by a numeric label, a walk along PC1."""
    model = next(model for model in study.results().models if model.name == name)
    figure = Figure(figsize=(9.0, 5.1), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.35, 1.25])
    left, right = top.subfigures(1, 2, width_ratios=[1.28, 1])
    _reconstructions(left.subplots(3, 5), model)
    left.suptitle("Images of patients whom the model never saw", fontsize=10, x=0.02, ha="left", weight="bold")
    _map(right.subplots(), model, label)
    right.suptitle(f"The latent space, by {label.replace('_', ' ')}", fontsize=10, x=0.02, ha="left", weight="bold")
    _walk(bottom.subplots(1, 11), model)
    bottom.suptitle(
        "A walk along the first principal component, between two images", fontsize=10, x=0.01, ha="left",
        weight="bold",
    )  # fmt: skip
    return figure


def _image(ax: Axes, pixels: np.ndarray, *, is_generated: bool = False) -> None:
    ax.imshow(np.moveaxis(pixels, 0, -1)[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(is_generated)
        spine.set_color(GENERATED)
        spine.set_linestyle((0, (4, 3)))


def _reconstructions(axes: np.ndarray, model: ModelResults) -> None:
    shown = model.reconstructions
    rows = (("original", shown.originals), (f"VAE, {model.latent_dim} numbers", shown.reconstructions),
            (f"PCA, {model.latent_dim} numbers", shown.pca))  # fmt: skip
    for line, (title, images) in zip(axes, rows, strict=True):
        for ax, image in zip(line, images, strict=False):
            _image(ax, image, is_generated=title != "original")
        line[0].set_ylabel(title, fontsize=8, color=muted())


def _map(ax: Axes, model: ModelResults, label: str) -> None:
    table = model.projections
    points = ax.scatter(table["tsne1"], table["tsne2"], s=7, c=table[label], cmap="cividis", linewidths=0)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel("t-SNE 1", fontsize=8)
    ax.set_ylabel("t-SNE 2", fontsize=8)
    ax.figure.colorbar(points, ax=ax, shrink=0.8, label=label.replace("_", " ")).outline.set_visible(False)


def _walk(axes: np.ndarray, model: ModelResults) -> None:
    walk = next(walk for walk in model.walks if walk.name == "PC1")
    frames = [walk.end_originals[0], walk.end_reconstructions[0], *walk.frames, walk.end_reconstructions[1],
              walk.end_originals[1]]  # fmt: skip
    titles = ["image", "t = 0", *(f"{t:.3g}" for t in walk.t), "t = 1", "image"]
    for ax, frame, title in zip(axes, frames, titles, strict=True):
        _image(ax, frame, is_generated=title != "image")
        ax.set_title(title, fontsize=8, weight="normal", loc="center", color=muted())


if __name__ == "__main__":
    folder, name, label, target = sys.argv[1:]
    with theme("light"):
        picture(Study(folder), name, label).savefig(Path(target), dpi=140)
