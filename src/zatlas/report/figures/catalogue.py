"""The list of all figures of a study, in the order of the report, with their titles, captions and alternative texts.

A `Recipe` says how to draw a figure and which numbers are behind it; nothing is drawn here. Captions say what is seen
and what the axes mean; what follows from it is said by the findings.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as count_from
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zatlas.atlas.projection import Projection, listed
from zatlas.model.prior_words import STANDARD, prior_words
from zatlas.report.figures import collection, curves, latent_maps, pictures
from zatlas.report.figures.style import count, number, plain
from zatlas.results.kinds import DataSummary, ModelResults, StudyResults, Walk
from zatlas.results.levels import level_columns, levels

__all__ = ["Recipe", "catalogue", "data_recipes"]

_CLUSTERS_PER_FIGURE = 3
_MOST_TRAVERSALS = 16
_MOST_LABEL_MAPS = 12


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One figure, not yet drawn.

    Attributes:
        id: Letters, digits and hyphens: the name of its files and its anchor in the report.
        section: Section of the report.
        title: A few words.
        caption: What is seen, what the axes mean.
        alt: What a person who does not see the figure should know of it.
        draw: Draws it, inside `theme`.
        numbers: The numbers behind it.
        model: Name of the model, "" for the data and for all models.
        is_photograph: Mostly images rather than lines and dots.
    """

    id: str
    section: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]
    numbers: Callable[[], pd.DataFrame]
    model: str = ""
    is_photograph: bool = False


DRAWN_TEXTURE = "Texture is drawn, not observed: z decides what kind of details there are, noise where they lie"
"""Said of every picture that a model with local latents makes from z alone."""


def catalogue(results: StudyResults) -> list[Recipe]:
    """Every figure of the study, in the order of the report."""
    recipes = data_recipes(results.data)
    unit = results.data.unit
    for model in results.models:
        recipes += _training(model, unit)
    recipes += _by_size(results)
    for steps in (_reconstruction, partial(_latent_space, unit=unit), _maps, _walks, _samples):
        for model in results.models:
            recipes += [_with_drawn_texture(recipe, model) for recipe in steps(model)]
    recipes += _models(results)
    return _with_own_ids(recipes)


def _with_drawn_texture(recipe: Recipe, model: ModelResults) -> Recipe:
    """The recipe of pictures that a model with local latents drew from z alone says so."""
    from_z = recipe.section in ("samples", "walks", "latent-space") and recipe.is_photograph
    if not model.n_local or not from_z:
        return recipe
    whose = "each image has its own" if recipe.section == "samples" else "all images of a path share it"
    return replace(recipe, caption=f"{recipe.caption} {DRAWN_TEXTURE}; {whose}.")


def _with_own_ids(recipes: list[Recipe]) -> list[Recipe]:
    """The recipes, numbered where names of models make two ids the same (clusters of a-b and c, and of a and b-c)."""
    taken = {recipe.id for recipe in recipes}
    seen: set[str] = set()
    made = []
    for recipe in recipes:
        if recipe.id in seen:
            free = next(name for n in count_from(2) if (name := f"{recipe.id}-{n}") not in taken)
            recipe = replace(recipe, id=free)
            taken.add(free)
        seen.add(recipe.id)
        made.append(recipe)
    return made


def safe_id(text: str) -> str:
    """A name as part of a file name: lower-case letters, digits and hyphens only."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def _distinct(names: list[str]) -> list[str]:
    """`safe_id` of each name, with a number added where two would be the same."""
    made: list[str] = []
    for name in names:
        base = safe_id(name)
        n = sum(1 for other in made if other == base or re.fullmatch(rf"{base}-\d+", other))
        made.append(base if base not in made else f"{base}-{n + 1}")
    return made


def data_recipes(data: DataSummary) -> list[Recipe]:
    """The figures of the images alone: for the report and for `zatlas inspect`."""
    return [*_data_charts(data), *_data_images(data)]


def _data_charts(data: DataSummary) -> Iterator[Recipe]:
    many = len(data.groups) > 1
    if many:
        n = len(data.groups)
        yield Recipe(
            id="data-groups",
            section="data",
            title="Images per group",
            caption=f"Number of images in each of {count(n, 'group')}."
            if n <= 24
            else f"How many of the {count(n, 'group')} (upwards) hold how many images (to the right).",
            alt=f"Bars: images per group. {_largest_groups(data)}",
            draw=partial(collection.group_sizes, data),
            numbers=partial(collection.group_sizes_numbers, data),
        )
    if not collection.is_uniform(data) and len(data.image_table):
        yield Recipe(
            id="data-sizes",
            section="data",
            title="Sizes of the images",
            caption="Left: width and height of every image. Right: side of a square of the same area, per group; "
            "the box holds the middle half of the images, the line in it is the median.",
            alt="Dots: width against height of each image; boxes: distribution of image sizes per group.",
            draw=partial(collection.image_sizes, data),
            numbers=partial(collection.image_sizes_numbers, data),
        )
    yield Recipe(
        id="data-histograms",
        section="data",
        title="Grey levels",
        caption="Share of the pixels in each bin of grey level; the grey area is all images together"
        + (", each line one group." if many and len(data.histograms) > 1 else "."),
        alt="Lines: histogram of grey levels" + (" for each group and all images." if many else " of all images."),
        draw=partial(collection.grey_histograms, data),
        numbers=partial(collection.grey_histograms_numbers, data),
    )


def _largest_groups(data: DataSummary) -> str:
    top = data.groups.sort_values("images", ascending=False).head(5)
    return "; ".join(f"{plain(row.group)}: {row.images}" for row in top.itertuples()) + "."


def _data_images(data: DataSummary) -> Iterator[Recipe]:
    if len(data.contact_sheet):
        yield Recipe(
            id="data-contact-sheet",
            section="data",
            title="Contact sheet",
            caption=f"{count(len(data.contact_sheet), 'image')} drawn by chance from the collection, "
            "each shrunk to the same size; the name of the image is under it.",
            alt=f"{len(data.contact_sheet)} example images of the collection.",
            draw=partial(collection.contact_sheet, data),
            numbers=partial(collection.contact_sheet_numbers, data),
            is_photograph=True,
        )
    if len(data.extreme_images):
        yield Recipe(
            id="data-extremes",
            section="data",
            title="Largest and smallest images",
            caption="The largest (top) and the smallest (bottom) image of each group, shrunk to the same size; "
            "name and original size under each.",
            alt="The largest and the smallest image of each group.",
            draw=partial(collection.extremes, data),
            numbers=partial(collection.extremes_numbers, data),
            is_photograph=True,
        )
    if len(data.tile_examples):
        yield Recipe(
            id="data-tiles",
            section="data",
            title="What the model sees",
            caption=f"{count(len(data.tile_examples), 'tile')} of {data.side_px} × {data.side_px} px as training draws "
            "them, on the grey scale of training.",
            alt=f"{len(data.tile_examples)} training tiles.",
            draw=partial(collection.example_tiles, data),
            numbers=partial(collection.example_tiles_numbers, data),
            is_photograph=True,
        )
    yield Recipe(
        id="split",
        section="split",
        title="The split",
        caption="Number of images that train the models, that choose the best epoch (validation) and that only judge "
        "(test).",
        alt="Bars: " + ", ".join(f"{part} {n}" for part, n in data.split_counts.items()) + " images.",
        draw=partial(collection.split, data),
        numbers=partial(collection.split_numbers, data),
    )


def _training(model: ModelResults, unit: str) -> Iterator[Recipe]:
    if len(model.history) < 2:
        return
    kept = curves.kept_epoch(model)
    marked = f" The dashed line marks epoch {kept:g}, whose weights are kept." if kept is not None else ""
    if kept == 0:
        marked = (
            " The dashed line marks the start, whose weights are kept: no epoch was better on validation than the "
            "principal components with which training began."
        )
    by_level = ""
    if level_columns(model):
        by_level = (
            " Last, how the validation rate divides into that of z and that of each map of local latents, named by its "
            "cells."
        )
    yield Recipe(
        id=f"{safe_id(model.name)}-training",
        section="training",
        model=model.name,
        title=f"Training of {plain(model.name)}",
        caption="Distortion (how badly images are reconstructed), "
        "rate (how much the latent says about an image) and their negative sum, the ELBO, after each epoch. "
        f"In the shaded epochs the weight of the rate still rises to its final value.{marked} "
        "The test split is only watched; it steers nothing. The training curve need not lie below the others: its "
        "images are varied, tiles may overhang their image, and the weights move. The first epochs may lie outside the "
        f"frame.{by_level}",
        alt=f"Training curves of {plain(model.name)} over {len(model.history)} epochs.",
        draw=partial(curves.training_curves, model, unit=unit),
        numbers=partial(curves.training_curves_numbers, model),
    )


def _reconstruction(model: ModelResults) -> Iterator[Recipe]:
    shown = model.reconstructions
    n = min(10, len(shown.originals))
    if not n:
        return
    yield Recipe(
        id=f"{safe_id(model.name)}-reconstructions",
        section="reconstructions",
        model=model.name,
        is_photograph=True,
        title=f"Test images through {plain(model.name)}",
        caption=f"From top to bottom: {count(n, 'test image')}; the reconstruction from {_numbers_kept(model)}; "
        "reconstruction minus original (blue: too dark, orange: too bright; full colour at 0.3 of the grey range); "
        f"PCA with {count(model.latent_dim, 'component')}, fitted on the training split. "
        f"PSNR (higher is closer) and SSIM (1 is equal) are given under each.{_exact_note(shown.table)} "
        "All greys are on one scale.",
        alt=f"{n} test images with their reconstructions: mean PSNR {shown.table['psnr_db'].mean():.1f} dB, "
        f"PCA {shown.table['pca_psnr_db'].mean():.1f} dB.",
        draw=partial(pictures.reconstructions, model),
        numbers=partial(pictures.reconstructions_numbers, model),
    )


def _numbers_kept(model: ModelResults) -> str:
    local = f" and {model.n_local} local latents" if model.n_local else ""
    return f"{model.latent_dim} numbers{local}"


def _exact_note(table: pd.DataFrame) -> str:
    """A word on images that come back exactly, where there are some."""
    if not (table[["psnr_db", "pca_psnr_db"]] >= pictures.EXACT_DB).to_numpy().any():
        return ""
    return " PSNR ends at 100 dB, where nothing but rounding differs, as of an evenly grey image."


def _by_size(results: StudyResults) -> Iterator[Recipe]:
    models = results.models
    if len(models) < 2 or not _have_same_examples(models):
        return
    yield Recipe(
        id="reconstructions-by-size",
        section="reconstructions",
        is_photograph=True,
        title="The same test images through every model",
        caption="Top: test images. Below: their reconstructions, one row per model, on one grey scale, with PSNR.",
        alt="The same test images reconstructed by " + ", ".join(plain(model.name) for model in models) + ".",
        draw=partial(pictures.reconstructions_by_size, models),
        numbers=partial(pictures.reconstructions_by_size_numbers, models),
    )


def _have_same_examples(models: list[ModelResults]) -> bool:
    first = models[0].reconstructions
    same = [np.array_equal(first.originals, model.reconstructions.originals) for model in models[1:]]
    return len(first.originals) > 0 and all(same)


def _rate_words(model: ModelResults) -> str:
    if model.prior == STANDARD:
        return "KL divergence from the prior"
    return "its prior has none by dimension; KL divergence from the Gaussian of all latents along it"


def _local_rates(model: ModelResults, unit: str) -> str:
    """What local latents say beside z, where there are any."""
    found = levels(model)
    if not found:
        return ""
    of_z, *local = found
    said = " and ".join(f"those on the map of {one.name} cells {number(one.rate_nats)} nats" for one in local)
    return (
        f" Beside z, local latents hold where details lie: about a validation {unit}, z says "
        f"{number(of_z.rate_nats)} nats, {said}."
    )


def _latent_space(model: ModelResults, unit: str) -> Iterator[Recipe]:
    name, key = plain(model.name), safe_id(model.name)
    n_active = int(np.sum(model.is_active))
    yield Recipe(
        id=f"{key}-rates",
        section="latent-space",
        model=model.name,
        title=f"What each dimension of {name} carries",
        caption=f"Mean rate ({_rate_words(model)}) of each latent dimension, highest first. "
        f"A collapsed dimension hardly varies from {unit} to {unit}: the model does not use it."
        f"{_local_rates(model, unit)}",
        alt=f"Bars: rate per dimension; {n_active} of {model.latent_dim} dimensions are active.",
        draw=partial(curves.rates, model, unit=unit),
        numbers=partial(curves.rates_numbers, model),
    )
    ranked = sorted(model.traversals, key=lambda one: -one.rate_nats)[:_MOST_TRAVERSALS]
    if ranked:
        left_out = len(model.traversals) - len(ranked)
        yield Recipe(
            id=f"{key}-traversals",
            section="latent-space",
            model=model.name,
            is_photograph=True,
            title=f"What each dimension of {name} draws",
            caption="Each row moves along one latent dimension, the others held at their mean; highest rate first. "
            "Columns are positions in standard deviations of the images' latents along the dimension."
            + (
                f" The {count(left_out, 'dimension')} of lowest rate {'is' if left_out == 1 else 'are'} not shown."
                if left_out
                else ""
            ),
            alt=f"Decoded images along {count(len(ranked), 'latent dimension')}.",
            draw=partial(pictures.traversals, ranked),
            numbers=partial(pictures.traversals_numbers, ranked),
        )
    if len(model.probes):
        yield _probes(model)
    for start in range(0, len(model.galleries), _CLUSTERS_PER_FIGURE):
        chosen = model.galleries[start : start + _CLUSTERS_PER_FIGURE]
        first, last, cell = chosen[0].cluster, chosen[-1].cluster, model.cell
        to = "and" if last == first + 1 else "to"
        which = f"{cell.capitalize()} {first}" if first == last else f"{cell.capitalize()}s {first} {to} {last}"
        yield Recipe(
            id=f"{key}-clusters-{start // _CLUSTERS_PER_FIGURE + 1}",
            section="latent-space",
            model=model.name,
            is_photograph=True,
            title=f"{which} of {name}",
            caption=f"Real images of each {cell}: those nearest to its centre, some drawn by chance, "
            f"and those closest to another {cell}.",
            alt="; ".join(f"{cell} {one.cluster}: {one.size} images" for one in chosen) + ".",
            draw=partial(pictures.galleries, chosen, cell),
            numbers=partial(pictures.galleries_numbers, chosen),
        )
    if len(model.neighbours.get("query_images", ())):
        yield Recipe(
            id=f"{key}-neighbours",
            section="latent-space",
            model=model.name,
            is_photograph=True,
            title=f"Nearest neighbours in the latent space of {name}",
            caption="Left: an image. Right of it: the images whose latents lie nearest, with their latent distance. "
            "All are real.",
            alt="Rows of images, each with its nearest neighbours in latent space.",
            draw=partial(pictures.neighbours, model),
            numbers=partial(pictures.neighbours_numbers, model),
        )


def _probes(model: ModelResults) -> Recipe:
    name = plain(model.name)
    return Recipe(
        id=f"{safe_id(model.name)}-probes",
        section="latent-space",
        model=model.name,
        title=f"What can be read from the latents of {name}",
        caption="Cross-validated score of a linear probe that predicts each label from the latents, "
        "from PCA of the same size, and from the grey histogram of the image alone. "
        "R² is for quantities: 0 is no better than the mean, 1 is perfect, below −0.1 is drawn at −0.1; "
        "balanced accuracy is for categories: 1 is perfect. "
        "Where the histogram does as well as the latents, the label may be no more than brightness.",
        alt="Dots: probe scores of " + ", ".join(plain(label) for label in model.probes["label"]) + ".",
        draw=partial(curves.probes, model),
        numbers=partial(curves.probes_numbers, model),
    )


def _maps(model: ModelResults) -> Iterator[Recipe]:
    name, key, table, shown = plain(model.name), safe_id(model.name), model.projections, model.maps
    if not shown:
        return
    columns = ["cluster"] if "cluster" in table else []
    columns += ["group"] if "group" in table and table["group"].nunique() > 1 else []
    for column in columns:
        yield Recipe(
            id=f"{key}-map-{column}",
            section="maps",
            model=model.name,
            title=f"Maps of {name} by {(word := model.cell if column == 'cluster' else column)}",
            caption=f"{_maps_explained(shown)} Colour: {word}.",
            alt=f"{listed([plain(one.title) for one in shown])} maps of {len(table)} latents coloured by {word}.",
            draw=partial(latent_maps.maps, model, column),
            numbers=partial(latent_maps.maps_numbers, model, column),
        )
    labels = [*latent_maps.map_columns(model)[:_MOST_LABEL_MAPS]]
    usual = [one for one in shown if not one.has_inverse] or shown[:1]
    for i, one in enumerate(usual if labels else ()):
        yield Recipe(
            id=f"{key}-map-labels" + (f"-{safe_id(one.name)}" if i else ""),
            section="maps",
            model=model.name,
            title=f"{plain(one.title)} of {name} by label",
            caption=f"The {plain(one.title)} map again, coloured by each label: categories in up to eight colours "
            "(rarer ones together as “other”), quantities from dark blue (low) to yellow (high).",
            alt=f"{plain(one.title)} maps coloured by " + ", ".join(plain(label) for label in labels) + ".",
            draw=partial(latent_maps.label_maps, model, labels, one.name),
            numbers=partial(latent_maps.label_maps_numbers, model, labels, one.name),
        )


def _maps_explained(shown: Sequence[Projection]) -> str:
    places = ("Left", "Right") if len(shown) == 2 else [f"Map {i + 1}" for i in range(len(shown))]
    each = [f"{place}: {plain(one.caption(), 400)}." for place, one in zip(places, shown, strict=True)]
    return f"Each dot is one image or tile. {' '.join(each)} Rings are test images."


def _walks(model: ModelResults) -> Iterator[Recipe]:
    name, key = plain(model.name), safe_id(model.name)
    ids = _distinct([one.name for one in model.walks])
    ranges = pictures.feature_ranges(model.walks) if model.walks else {}
    for one, walk_id in zip(model.walks, ids, strict=True):
        yield Recipe(
            id=f"{key}-walk-{walk_id}",
            section="walks",
            model=model.name,
            is_photograph=True,
            title=f"{name}: path along {plain(one.name, 40)}",
            caption=_walk_caption(one, has_local=model.n_local > 0),
            alt=f"Film strip of {count(len(one.t), 'generated image')} from {plain(one.start_image)} to "
            f"{plain(one.end_image)}.",
            draw=partial(pictures.walk, one, ranges),
            numbers=partial(pictures.walk_numbers, one),
        )


def _walk_caption(one: Walk, *, has_local: bool) -> str:
    ends = f"from {plain(one.start_image)} (left) to {plain(one.end_image)} (right)"
    extreme = "" if one.axis_kind == "pair" else f", the images lowest and highest on {plain(one.name, 40)}"
    shape = "a straight line" if one.kind == "straight" else "an arc"
    note = f" {one.note.rstrip('.')}." if one.note else ""
    end = "image of its z" if has_local else "reconstruction"
    return (
        f"Along {shape} in latent space {ends}{extreme}: real image, {end}, "
        f"{count(len(one.t), 'generated image')} at positions t, {end}, real image.{note}"
    )


def _samples(model: ModelResults) -> Iterator[Recipe]:
    name, key, drawn = plain(model.name), safe_id(model.name), model.samples
    is_standard = model.prior == STANDARD
    prior_name = "the prior N(0, I)" if is_standard else f"the prior of the model, {prior_words(model.prior)}"
    recipe = partial(Recipe, section="samples", model=model.name, is_photograph=True)
    if len(drawn.frames):
        yield recipe(
            id=f"{key}-samples",
            title=f"New images from {name}",
            caption="Images decoded from draws of a density fitted to the latents of the training images, "
            "each with the real training image whose latent is nearest, and their latent distance.",
            alt=f"{len(drawn.frames)} generated images beside their nearest real images.",
            draw=partial(pictures.samples, drawn),
            numbers=partial(pictures.samples_numbers, drawn),
        )
    if len(drawn.prior_frames):
        yield recipe(
            id=f"{key}-prior",
            title=f"Draws from the prior of {name}: a diagnosis",
            caption=f"Images decoded from draws of {prior_name}. "
            "Where the latents of real images do not fill the prior, these show regions that no image occupies; "
            "they are not what the model knows best.",
            alt=f"{len(drawn.prior_frames)} images decoded from the prior.",
            draw=partial(pictures.prior_samples, drawn),
            numbers=partial(pictures.prior_samples_numbers, drawn),
        )
    if drawn.strips:
        yield recipe(
            id=f"{key}-priors",
            title=f"{name}: images from each prior",
            caption="Each row is decoded from draws of one prior: first that with which the model was trained, then "
            "those fitted to its training latents afterwards, which the table describes. The decoder is the same.",
            alt=f"Rows of generated images, one for each of {len(drawn.strips)} priors.",
            draw=partial(pictures.prior_strips, drawn),
            numbers=partial(pictures.prior_strips_numbers, drawn),
        )


def _models(results: StudyResults) -> Iterator[Recipe]:
    models, comparison = results.models, results.comparison
    if len(models) < 2:
        return
    yield Recipe(
        id="models",
        section="models",
        title="The models side by side",
        caption="Distortion, rate and PSNR on the three splits; open diamonds: PCA with as many components on the test "
        "part; last, how many latent dimensions are active."
        + (
            " Distortions of different likelihoods must not be compared."
            if len({model.likelihood for model in models}) > 1
            else ""
        ),
        alt="Dots: distortion, rate, PSNR and active dimensions of "
        + ", ".join(plain(model.name) for model in models)
        + ".",
        draw=partial(curves.models_side_by_side, models, comparison, unit=results.data.unit),
        numbers=partial(curves.models_side_by_side_numbers, models, comparison),
    )
    for a, b in pairwise(models):
        if "cluster" not in a.projections or "cluster" not in b.projections:
            continue
        yield Recipe(
            id=f"clusters-{safe_id(a.name)}-{safe_id(b.name)}",
            section="models",
            title=f"Regions of {plain(a.name)} against {plain(b.name)}",
            caption=f"Number of images that lie in a region of {plain(a.name)} (row) and in a region of "
            f"{plain(b.name)} (column). "
            "Columns are ordered so that matched regions (Hungarian method) stand on the diagonal.",
            alt=f"Matrix of images shared by the regions of {plain(a.name)} and {plain(b.name)}.",
            draw=partial(latent_maps.cluster_match, a, b, comparison),
            numbers=partial(latent_maps.cluster_match_numbers, a, b, comparison),
        )
    if len(comparison.neighbour_overlap) > 1:
        yield Recipe(
            id="neighbour-overlap",
            section="models",
            title="Do the models agree on neighbours?",
            caption="Mean share of the nearest neighbours of an image that two models have in common; "
            "1 on the diagonal by definition.",
            alt="Matrix: share of common nearest neighbours of each pair of models.",
            draw=partial(latent_maps.neighbour_overlap, comparison),
            numbers=partial(latent_maps.neighbour_overlap_numbers, comparison),
        )
