"""Single steps on a finished study: embed, walk, sample, report. Each writes beside the study, never into it."""

import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zatlas import files
from zatlas.atlas.atlas import Atlas
from zatlas.errors import UsageError
from zatlas.images.readers.opening import open_images
from zatlas.model.told import told_value
from zatlas.progress import Talk
from zatlas.report.figures import pictures
from zatlas.report.figures.as_if import as_if_numbers, as_if_sheet
from zatlas.report.figures.catalogue import Recipe, safe_id
from zatlas.report.figures.writing import write_figures, write_recipes
from zatlas.report.page import report as write_report
from zatlas.results.as_if import as_if as draw_as_if
from zatlas.results.pictures import View, decoded, samples
from zatlas.results.priors import LATENTS
from zatlas.studies.study import Study
from zatlas.tiles.samplers import evenly
from zatlas.trust.features import feature_spread, image_features
from zatlas.trust.gains import Gain, gain_text

__all__ = ["as_if", "embed", "headline_text", "report", "sample", "walk"]

log = logging.getLogger(__name__)

_SPREAD_TILES = 1000


def embed(made: Study, name: str, target: Path, *, data: str, stride: int, refine: int = 0, talk: Talk) -> Atlas:
    """Latents of all images of a study, or of other images, with PCA; written as .h5ad.

    Args:
        made: The study.
        name: Which model.
        target: The file.
        data: Other images to embed; "" takes those of the study.
        stride: Distance between tiles [px]; 0 takes the tile size.
        refine: Gradient steps by which each latent is refined; 0 takes the encoder's.
        talk: Where progress goes.
    """
    vae = made.vae(name)
    with tempfile.TemporaryDirectory(prefix="zatlas-") as cache:
        if data:
            images = open_images(data).packed(Path(cache) / "originals", on_progress=talk.on("reading images"))
            if not made.config.tiles.tile:
                images = images.resized(vae.network.config.size, Path(cache) / "resized")
            extra = None
        else:
            prepared = made.data(talk)
            images = prepared.collection
            everything = replace(prepared.config.atlas, atlas_size=0, stride=stride or prepared.side_px)
            prepared = replace(prepared, config=replace(prepared.config, atlas=everything))
            extra = prepared.atlas_table(prepared.atlas_tiles())
        progress = talk.on(f"encoding with {name}")
        atlas = vae.embed(images, stride=stride, refine=refine, table_extra=extra, on_progress=progress)
    atlas.pca()
    atlas.save(target)
    return atlas


def walk(
    made: Study,
    name: str,
    target: Path,
    *,
    axis: str,
    between: Sequence[str] | None,
    points: int,
    kind: str,
    talk: Talk,
) -> dict[str, Any]:
    """Images along a line through the latent space, as PNG, SVG and CSV in the folder `target`."""
    atlas = made.atlas(name)
    ends = (_row_of(atlas, between[0]), _row_of(atlas, between[1])) if between else axis
    path = atlas.path(ends, points, kind=kind)
    view, tiles = _view(made, name, talk)
    rows = evenly(len(tiles), _SPREAD_TILES)
    spread = feature_spread(image_features(view.take(tiles, rows)))
    found = decoded(view, path, tiles, spread)
    words = "; ".join(change["text"] for change in found.changes) or "no image feature changes much"
    recipe = _recipe(f"walk-{safe_id(found.name)}", pictures.walk, pictures.walk_numbers, found)
    write_recipes([recipe], target)
    text = f"path along {found.name} from {found.start_image} to {found.end_image}: {words}"
    return {"folder": str(target), "walk": found.name, "changes": found.changes, "note": found.note, "text": text}


def sample(made: Study, name: str, target: Path, *, n: int, source: str, seed: int, talk: Talk) -> dict[str, Any]:
    """New images with the nearest real one beside each (or from the prior), in the folder `target`.

    Args:
        made: The study.
        name: Which model.
        target: The folder.
        n: How many.
        source: "latents", "prior" (that of the model), or one of `zatlas.atlas.fitted_priors.FITTED`.
        seed: Of the draws.
        talk: Where progress goes.
    """
    atlas = made.atlas(name)
    if n < 1:
        raise UsageError(f"-n is {n}, expected 1 or more", hint="zatlas sample STUDY -n 24")
    view, tiles = _view(made, name, talk)
    training = np.flatnonzero(atlas.table["split"].astype(str).to_numpy() == "train")
    is_prior = source == "prior"
    drawn = samples(view, atlas, tiles, training, n, seed, LATENTS if is_prior else source)
    draw = (pictures.prior_samples, pictures.prior_samples_numbers)
    recipe = _recipe("samples" if source == LATENTS else f"samples-{source}", *(draw if is_prior else _FITTED), drawn)
    write_recipes([recipe], target)
    usual = f"a density fitted to {len(training)} training latents"
    words = {"prior": f"the prior of the model, {view.network.prior.words}", LATENTS: usual}
    origin = words.get(source) or drawn.density["text"]
    text = f"{n} images from {origin}"
    if is_prior or source == LATENTS:
        text += (
            "; a classifier tells training latents from draws of the prior of the model with AUC "
            f"{drawn.mismatch['auc']:.2f}"
        )
    return {"folder": str(target), "n": n, "from": origin, "mismatch": drawn.mismatch, "text": text}


def as_if(made: Study, name: str, target: Path, *, values: Sequence[str], n: int, talk: Talk) -> dict[str, Any]:
    """Real tiles as if they had other values of the covariate that the model is told, in the folder `target`.

    Args:
        made: The study.
        name: Which model.
        target: The folder.
        values: What to tell; () takes all values that the model knows.
        n: How many tiles, evenly spaced among those of the test part where there is one.
        talk: Where progress goes.

    Raises:
        UsageError: the model knows no covariate, or not this value.
    """
    model = made.vae(name)
    chosen = tuple(values) or model.covariate_values
    for value in chosen or ("",):
        told_value(model.network, value)
    atlas, (view, tiles) = made.atlas(name), _view(made, name, talk)
    split = atlas.table["split"].astype(str).to_numpy()
    rows = np.flatnonzero(split == "test") if (split == "test").any() else np.arange(len(split))
    rows = rows[evenly(len(rows), max(n, 1))]
    shown = draw_as_if(view, atlas, tiles, rows, chosen)
    write_recipes([_recipe("as-if", as_if_sheet, as_if_numbers, shown)], target)
    text = f"{len(rows)} tiles as if their {shown.column} were {', '.join(chosen)}; drawn by the model, not observed"
    return {"folder": str(target), "covariate": shown.column, "values": list(chosen), "n": len(rows), "text": text}


_FITTED = (pictures.samples, pictures.samples_numbers)


def _recipe(id_: str, draw: Any, numbers: Any, result: Any) -> Recipe:
    return Recipe(
        id=id_, section="", title=id_, caption="", alt="", draw=partial(draw, result), numbers=partial(numbers, result),
        is_photograph=True,
    )  # fmt: skip


def _view(made: Study, name: str, talk: Talk) -> tuple[View, Any]:
    """The model as images, and the tiles of the atlas."""
    data = made.data(talk)
    network = made.vae(name).network
    return View(network, data.fixed_tiles("train")), data.atlas_tiles()


def _row_of(atlas: Atlas, wanted: str) -> int:
    """The row of an image by name, or by number."""
    names = atlas.table["image"].astype(str)
    matches = np.flatnonzero((names == wanted).to_numpy())
    if len(matches):
        return int(matches[0])
    if wanted.isdigit() and int(wanted) < len(atlas):
        return int(wanted)
    raise UsageError(
        f"there is no image {wanted!r} in the atlas", hint=f"its first images are {', '.join(names.head(3))}"
    )


def report(made: Study, out: Path | None, talk: Talk) -> Path:
    """Figures and page again, from the stored results: in the study, or at `out` with figures in a folder beside it.

    A study that cannot be written into is reported to the working folder, and says so.
    """
    if out is None and not files.is_writable(made.folder):
        out = Path(f"{made.folder.resolve().name}-report.html")
        talk.say(f"warning: {made.folder} is read-only, so the report is written to {out} in the working folder")
    page = made.folder / "report.html" if out is None else out
    figures = made.folder / "figures" if out is None else out.with_name(f"{out.stem}-figures")
    files.make_folder(page.parent)
    results = made.results()
    manifest = write_figures(results, figures, on_progress=talk.on("drawing figures"))
    written = write_report(results, manifest, page, on_progress=talk.on("composing the page"))
    if out is None:
        made.record_files()
    return written


def headline_text(made: Study, summary: dict[str, dict[str, float]]) -> str:
    """The few numbers that say most, a line per model."""
    lines, width = [f"{made.folder}/report.html"], max(5, *(len(name) for name in summary))
    for name, numbers in summary.items():
        size = made.spec(name).latent_dim
        lines.append(
            f"{name:<{width}} test distortion {numbers['test_distortion_nats']:.1f} nats, "
            f"rate {numbers['test_rate_nats']:.1f} nats, PSNR {numbers['test_psnr_db']:.2f} dB "
            f"(PCA of the same size {numbers['test_pca_psnr_db']:.2f} dB), "
            f"{int(numbers['active_dims'])} of {size} dimensions active"
        )
        if math.isfinite(numbers.get("test_pooled_gain_db", math.nan)):
            lines.append(f"{'':<{width}} {_gains_line(numbers, size)}")
        if n_local := int(numbers.get("n_local", 0)):
            lines.append(f"{'':<{width}} no match of equals: the VAE also has {n_local} local latents, PCA has none")
    return "\n".join(lines)


def _gains_line(numbers: dict[str, float], n_components: int) -> str:
    """The verdict against PCA in three measures; without empty images or tiles only where there are some."""

    def text(measure: str) -> str:
        ends = (numbers.get(f"test_{measure}gain_{end}db", math.nan) for end in ("", "low_", "high_"))
        return gain_text(Gain(*ends), n_components)

    n_empty = int(numbers["test_n_empty"])
    has_content = n_empty > 0 and "test_content_gain_db" in numbers
    ones = "one" if n_empty == 1 else "ones"
    content = f"; without {n_empty} nearly empty {ones} {text('content_')}" if has_content else ""
    return f"{text('')}{content}; by the pooled error {text('pooled_')}"
