"""The order and the words of the report: sections of text, tables, key numbers, findings and slots for figures.

The order is that of the assignments: data, split, training, reconstructions, latent space, maps, walks, samples,
models side by side, findings, method, limits. Blocks are plain dictionaries for the template; everything that comes
from data stays text and is escaped there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from zatlas.atlas.projection import Projection
from zatlas.report.cards import keys, model_table
from zatlas.report.figures.catalogue import Recipe, safe_id
from zatlas.report.figures.style import count, number, plain
from zatlas.report.findings.latent import change_text
from zatlas.report.findings.words import (
    about_likelihood,
    by_likelihood,
    listing,
    own_options,
    unit_of,
)
from zatlas.report.findings.writing import findings, in_short
from zatlas.report.invariance import invariance_blocks
from zatlas.report.method import limits_texts, method_blocks
from zatlas.report.priors import prior_blocks
from zatlas.report.tables import cell, cells_of, table_block, whole
from zatlas.results.kinds import Finding, ModelResults, StudyResults
from zatlas.results.levels import level_name, levels, side_of
from zatlas.results.maps import agreement_name, without_inverse
from zatlas.trust.features import WORDS

__all__ = ["FigureSlot", "Section", "build_sections", "headline"]

Block = dict[str, Any]


@dataclass(frozen=True)
class FigureSlot:
    """Where a figure goes, by the id of its recipe."""

    id: str


@dataclass
class Section:
    """One section of the report."""

    id: str
    title: str
    blocks: list[Block | FigureSlot] = field(default_factory=list)


def headline(results: StudyResults) -> tuple[str, str]:
    """Title and subtitle of the report."""
    data, sizes = results.data, [str(d) for d in dict.fromkeys(model.latent_dim for model in results.models)]
    names = "" if results.is_by_size else f" ({listing([plain(model.name) for model in results.models])})"
    title = str(results.config.get("title") or "") or f"The latent space of {data.name}"
    groups = f" in {count(len(data.groups), 'group')}" if len(data.groups) > 1 else ""
    what = "their tiles" if data.is_tiled else "them"
    subtitle = (
        f"{count(data.n_images, 'image')}{groups}; {count(len(results.models), 'variational autoencoder')}{names} of "
        f"{what}, with "
        f"{listing(sizes)} latent {'dimension' if sizes == ['1'] else 'dimensions'}."
    )
    return plain(title, 120), subtitle


def build_sections(results: StudyResults, recipes: Sequence[Recipe]) -> list[Section]:
    """All sections with their blocks, in the order of the report."""
    found = findings(results)
    sections = [
        Section("summary", "Summary", _summary(results, found)),
        Section("data", "The data", _data(results, recipes)),
        Section("split", "The split", _split(results, recipes)),
        Section("training", "Training", _training(results, recipes)),
        Section("reconstructions", "Reconstructions", _reconstructions(results, recipes)),
        Section("latent-space", "Latent space and clusters", _latent_space(results, recipes)),
        Section("maps", "Maps", _maps(results, recipes)),
        Section("walks", "Paths through the latent space", _walks(results, recipes)),
        Section("samples", "New images", _samples(results, recipes)),
        Section("models", "The models side by side", _models(results, recipes)),
        Section("findings", "Findings", [_finding(finding) for finding in found]),
        Section("method", "Method and provenance", method_blocks(results)),
        Section("limits", "What this does not show", [{"kind": "list", "texts": limits_texts(results)}]),
    ]
    return [section for section in sections if section.blocks]


def _text(text: str) -> Block:
    return {"kind": "text", "text": text}


def _finding(finding: Finding) -> Block:
    return {"kind": "finding", "question": finding.question, "paragraphs": finding.text.split("\n")}


def _slots(recipes: Sequence[Recipe], section: str, model: str = "") -> list[Block | FigureSlot]:
    return [FigureSlot(recipe.id) for recipe in recipes if recipe.section == section and recipe.model == model]


def _per_model(
    results: StudyResults, recipes: Sequence[Recipe], section: str, extra: dict[str, list[Block]] | None = None
) -> list[Block | FigureSlot]:
    """The figures of a section model by model, each under its heading, with links to jump between them."""
    blocks: list[Block | FigureSlot] = []
    links = []
    for model in results.models:
        slots = _slots(recipes, section, model.name)
        if not slots:
            continue
        target = f"{section}-{safe_id(model.name)}"
        links.append((target, plain(model.name)))
        own = own_options(results, model.name)
        heading = f"{plain(model.name)}: {count(model.latent_dim, 'latent dimension')}{f', {own}' if own else ''}"
        blocks += [{"kind": "heading", "id": target, "text": heading}, *(extra or {}).get(model.name, []), *slots]
    jumps: list[Block | FigureSlot] = [{"kind": "jumps", "links": links}] if len(links) > 1 else []
    return [*jumps, *blocks]


# ---- summary


def _summary(results: StudyResults, found: list[Finding]) -> list[Block | FigureSlot]:
    blocks: list[Block | FigureSlot] = [{"kind": "keys", "entries": keys(results)}]
    short = in_short(found)
    if short:
        blocks += [{"kind": "heading", "id": "in-short", "text": "In short"}, {"kind": "list", "texts": short}]
    blocks.append(model_table(results))
    blocks.append(
        _text(
            "How to read it: images with a dashed orange border were generated by a model; all others are real. "
            "Every figure can be opened as PNG, SVG and CSV from its caption when this page lies beside its folder of "
            "figures."
        )
    )
    return blocks


# ---- data, split, training


def _data(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    data = results.data
    pixels = data.statistics
    blocks: list[Block | FigureSlot] = []
    sizes = data.sizes.set_index("quantity").astype(int).to_dict("index")
    height, width = sizes["height"], sizes["width"]
    if (data.sizes["min"] == data.sizes["max"]).all():
        shape = f"all of {width['max']} × {height['max']} px"
    else:
        shape = f"from {width['min']} to {width['max']} px wide and {height['min']} to {height['max']} px high"
    channel = "grey" if data.channels == 1 else count(data.channels, "channel")
    text = f"{plain(data.name, 80)} holds {count(data.n_images, 'image')} ({channel}, {data.dtype}), {shape}."
    if data.n_rejected:
        text += (
            f" {count(data.n_rejected, 'damaged file')} {'was' if data.n_rejected == 1 else 'were'} set aside "
            "(data/rejected.csv)."
        )
    text += (
        f" Over all pixels the mean is {number(pixels.get('mean'), 4)} and the standard deviation "
        f"{number(pixels.get('std'), 4)}, from {number(pixels.get('min'))} to {number(pixels.get('max'))}."
    )
    text += f" Scaling: {data.scaling}."
    if data.is_tiled:
        text += f" The models see tiles of {data.side_px} × {data.side_px} px (sampler {data.sampler})."
    blocks.append(_text(text))
    if data.notes:
        blocks.append({"kind": "list", "texts": [f"{note[:1].upper()}{note[1:]}" for note in data.notes]})
    if 1 < len(data.groups) <= 40:
        groups = data.groups.rename(
            columns={
                "mean": "mean grey",
                "std": "sd of grey",
                "train": "training images",
                "validation": "validation images",
                "test": "test images",
            }
        )
        blocks.append(
            table_block(groups, "Groups", "Number of images and pixels, grey levels and split of each group.")
        )
    return blocks + _slots(recipes, "data")


def _split(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    data = results.data
    reason = data.split_reason.strip()
    blocks: list[Block | FigureSlot] = [
        _text(
            f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith('.') else '.'} The validation split "
            "chooses the best epoch; the test split is used for nothing but judging."
        )
    ]
    blocks += [
        {"kind": "note", "label": "Mind:", "text": f"{warning[:1].upper()}{warning[1:]}"} for warning in data.warnings
    ]
    return blocks + _slots(recipes, "split")


def _training(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    if not any(recipe.section == "training" for recipe in recipes):
        return []
    betas = list(dict.fromkeys(f"{model.beta:g}" for model in results.models))
    weights = [f"{model.beta:g} in {plain(model.name)}" for model in results.models] if len(betas) > 1 else betas
    kinds = by_likelihood(results.models)
    names = [
        f"the {about_likelihood(kind).loss}{f' in {listing(kinds[kind])}' if len(kinds) > 1 else ''}" for kind in kinds
    ]
    text = (
        f"Each model minimises distortion + beta × rate, here with beta {listing(weights)}; the "
        f"distortion is {listing(names)}, summed over the pixels of {'a tile' if results.data.is_tiled else 'an image'}"
        "."
    )
    return [_text(text), *_per_model(results, recipes, "training")]


def _reconstructions(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    if not any(recipe.section == "reconstructions" for recipe in recipes):
        return []
    shared = _slots(recipes, "reconstructions")
    text = "Test images, which no model was trained on, encoded to the posterior mean and decoded again."
    return [_text(text), *shared, *_per_model(results, recipes, "reconstructions")]


# ---- latent space and after


def _latent_space(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    extra = {
        model.name: [block for block in (_cluster_text(model), *_cluster_tables(model, unit_of(results))) if block]
        for model in results.models
    }
    text = (
        "A latent is the posterior mean of an image. k-means divides the latents into regions; "
        "whether these are clusters or parts of a continuum is tested against one Gaussian cloud of the same shape."
    )
    return [_text(text), *_per_model(results, recipes, "latent-space", extra), *invariance_blocks(results)]


def _cluster_text(model: ModelResults) -> Block | None:
    text = str(model.cluster_info.get("text", "")).strip()
    return _text(text) if text else None


def _cluster_tables(model: ModelResults, unit: str = "image") -> list[Block]:
    """Mean features and labels per cluster, then clusters by group and label."""
    info, blocks = model.cluster_info, []
    means = [info[name] for name in ("features", "numeric") if isinstance(info.get(name), pd.DataFrame)]
    means += [table for name, table in info.get("tables", {}).items() if name == "numeric" and not len(means) > 1]
    joined = [table for table in means if table.shape[1]]
    if joined:
        table = pd.concat(joined, axis=1)
        blocks.append(_means_table(table.loc[:, ~table.columns.duplicated()], model, unit))
    for name, table in info.get("tables", {}).items():
        if name == "numeric" or table.shape[1] > 12 or not table.shape[1]:
            continue
        shown = table.rename(columns=lambda value: plain(value, 24))
        shown.insert(0, model.cell, [str(cluster) for cluster in table.index])
        blocks.append(
            table_block(
                shown.reset_index(drop=True),
                f"{model.cell.capitalize()}s of {plain(model.name)} by {plain(name)}",
                f"Number of {unit}s.",
            )
        )
    return blocks


def _means_table(means: pd.DataFrame, model: ModelResults, unit: str) -> Block:
    """Features and labels as rows, clusters as columns: there may be many features, and paper is narrow."""
    sizes = {str(one.cluster): one.size for one in model.galleries}
    clusters = [str(name) for name in means.index]
    rows = [[f"{unit}s", *(cell(sizes[name], 3) if name in sizes else "–" for name in clusters)]]
    for name in means.columns:
        rows.append([WORDS.get(str(name), plain(name)), *cells_of(means[name].astype(float), 3)])
    table = pd.DataFrame(rows, columns=["quantity", *(f"{model.cell} {name}" for name in clusters)])
    caption = f"Mean of each image feature and numeric label in each {model.cell}."
    return table_block(table, f"{model.cell.capitalize()}s of {plain(model.name)}", caption, all_numbers=True)


def _maps(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    blocks = _per_model(results, recipes, "maps")
    if not blocks:
        return []
    rows = [{"model": plain(model.name)} | _map_numbers(model.maps) for model in results.models]
    table = table_block(
        pd.DataFrame(rows),
        "How far the maps can be trusted",
        "Trustworthiness: whether neighbours on the map are neighbours in latent space; 1 is perfect.",
        digits=3,
    )
    return [table, *blocks]


def _map_numbers(maps: Sequence[Projection]) -> dict[str, float]:
    """Variance on the first two axes where it is known, otherwise settings and trustworthiness of each map."""
    row = {}
    for one in maps:
        title, ratio = plain(one.title), one.facts.get("explained_ratio")
        if ratio is not None:
            axes = "PC" if one.name == "pca" else title
            row[f"variance on {axes} 1 and 2 [%]"] = 100 * float(sum(list(ratio)[:2]))
        else:
            row |= {f"{title} {plain(name)}": float(value) for name, value in one.settings.items()}
            row[f"trustworthiness of {title}"] = one.trustworthiness
    return row


def _walks(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    extra = {model.name: _changes_table(model) for model in results.models}
    blocks = _per_model(results, recipes, "walks", extra)
    if not blocks:
        return []
    text = (
        "Each path leads in latent space from one real image to another, usually the two that are extreme on an axis, "
        "and decodes points between them. The images between the ends are generated: "
        "they show what the model takes to lie between, not what was observed. Under each strip, along the positions "
        "t, stand image features on axes shared by all paths of a model (orange: a large change against the spread of "
        "the data), and the distance to the nearest real latent in median distances between neighbours (well above 1, "
        "the dashed line: less supported by data)."
    )
    return [_text(text), *blocks]


def _changes_table(model: ModelResults) -> list[Block]:
    rows = []
    for walk in model.walks:
        changes = "; ".join(change_text(change) for change in walk.changes) or "nothing measured changes much"
        far = float(np.max(walk.nearest_distance)) if len(walk.nearest_distance) else float("nan")
        rows.append(
            {
                "path": plain(walk.name, 40),
                "from": plain(walk.start_image),
                "to": plain(walk.end_image),
                "changes": changes,
                "farthest from real": far,
            }
        )
    if not rows:
        return []
    table = pd.DataFrame(rows)
    block = table_block(
        table,
        f"Paths of {plain(model.name)}",
        (
            "What changes, in standard deviations of the real images; "
            "last, the largest distance to a real latent in median neighbour distances."
        ),
        digits=2,
    )
    for shown, row in zip(block["rows"], rows, strict=True):
        shown[3] = str(row["changes"])
    return [block]


def _samples(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    blocks = _per_model(results, recipes, "samples")
    if not blocks:
        return []
    rows = [
        {
            "model": plain(model.name),
            "components of the mixture": int(model.samples.density.get("n_components", 0)),
            "held-out log-likelihood [nats]": float(model.samples.density.get("heldout_loglik", float("nan"))),
            "divergence from the prior [nats]": float(model.samples.mismatch.get("kl_nats", float("nan"))),
            "AUC against the prior": float(model.samples.mismatch.get("auc", float("nan"))),
        }
        for model in results.models
    ]
    text = (
        "New images are drawn from a Gaussian mixture fitted to the latents of the training images. "
        "Draws of the prior stand after them as a diagnosis: "
        "they look like images only where the latents fill the prior."
    )
    table = table_block(
        pd.DataFrame(rows),
        "Fitted density and mismatch with the prior",
        "AUC: how well a logistic regression tells latents of training images from draws of the prior; 0.5 not at all, "
        "1 always.",
        digits=3,
    )
    return [_text(text), table, *prior_blocks(results), *blocks]


def _models(results: StudyResults, recipes: Sequence[Recipe]) -> list[Block | FigureSlot]:
    if len(results.models) < 2:
        return []
    comparable = "numbers" if len(by_likelihood(results.models)) == 1 else "PSNR, SSIM and rates"
    blocks: list[Block | FigureSlot] = [
        _text(
            "The models share the images, the split, the tiles, the example images and the colours, "
            f"so their {comparable} can be compared."
        )
    ]
    known = _with_levels(_without_repeats(results.comparison.table), results.models)
    numbers = _words_of_columns(known, unit_of(results))
    caption = "Numbers of the test split unless named otherwise."
    if len(by_likelihood(results.models)) > 1:
        caption += " Distortion and ELBO of different likelihoods must not be compared."
    blocks.append(table_block(numbers, "All numbers of the models", caption, all_numbers=True))
    matches = [
        {
            "models": f"{plain(m['a'])} and {plain(m['b'])}",
            "adjusted Rand index": float(m["ari"]),
            "images in matched regions [%]": 100 * float(m.get("share", float("nan"))),
            "matched regions": ", ".join(f"{x}→{y}" for x, y in dict(m["mapping"]).items()),
        }
        for m in results.comparison.cluster_matches
    ]
    if matches:
        blocks.append(
            table_block(
                pd.DataFrame(matches),
                "Regions matched between models",
                "By the Hungarian method; the index is 0 for chance and 1 for equal divisions.",
                digits=3,
            )
        )
    similar = results.comparison.map_similarity
    maps = without_inverse(model.maps for model in results.models)
    if len(similar):
        shown = similar.rename(
            columns={
                "a": "model",
                "b": "and",
                **{agreement_name(one.name): f"agreement of {plain(one.title)} maps" for one in maps},
                "distance_correlation": "rank correlation of distances",
                "chance_overlap": "neighbours in common by chance",
                "overlap_images": "images asked for neighbours",
            }
        )
        blocks.append(
            table_block(
                shown,
                "Maps and distances compared",
                (
                    f"Agreement of the {listing([plain(one.title) for one in maps])} maps after turning and scaling "
                    "one onto the other (0 to 1); rank correlation of the distances between latents."
                ),
                digits=3,
            )
        )
    return blocks + _slots(recipes, "models")


def _without_repeats(table: pd.DataFrame) -> pd.DataFrame:
    """Without what is not known of any model, and what is measured on images with content where none is empty."""
    table = table.dropna(axis=1, how="all")
    if "test_n_empty" not in table or (table["test_n_empty"] > 0).any():
        return table
    return table.loc[:, [not str(name).startswith("test_content_") for name in table.columns]]


def _with_levels(table: pd.DataFrame, models: Sequence[ModelResults]) -> pd.DataFrame:
    """The comparison with the rate of each level, at the epochs that were kept, which it does not know."""
    table = table.copy()
    for model in models:
        for one in levels(model):
            column = f"validation_rate_{f'{one.side}px' if one.side else 'z'}_nats"
            table.loc[table["name"] == model.name, column] = one.rate_nats
    return table


def _words_of_columns(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """The comparison turned on its side: one row per number, one column per model."""
    names = [plain(name) for name in table["name"]]
    rows = []
    for column in table.columns:
        if column == "name":
            continue
        values = [cell(value, 4) for value in whole(table[column]).tolist()]
        rows.append([_quantity(str(column)).replace("{unit}", unit), *values])
    return pd.DataFrame(rows, columns=["quantity", *names])


_MEASURES = {"": "", "content_": ", with content", "pooled_": ", pooled error"}
_QUANTITIES = {
    "k": "regions of k-means",
    "n_parameters": "parameters of the network",
    "mismatch_auc": "AUC of latents against the prior",
    "mismatch_kl_nats": "divergence of latents from the prior [nats]",
    "effective_beta": "effective beta",
    "latent_dim": "latent dimensions",
    "test_n": "test {unit}s",
    "test_n_empty": "test {unit}s that are nearly empty",
    "test_n_exact": "test {unit}s that come back exactly",
    "test_pca_n_exact": "test {unit}s that come back exactly from PCA",
    "test_n_groups": "test groups",
    "test_psnr_sd": "test PSNR, standard deviation [dB]",
    "active_dims": "active dimensions",
    "n_local": "local latents",
    "validation_rate_z_nats": "validation rate of z [nats]",
    "forecast_active_dims": "active dimensions that PCA forecast",
    **{f"test_{key}psnr_db": f"test PSNR{words} [dB]" for key, words in _MEASURES.items()},
    **{f"test_{key}pca_psnr_db": f"test PCA PSNR{words} [dB]" for key, words in _MEASURES.items()},
    **{f"test_{key}gain_db": f"gain over PCA{words} [dB]" for key, words in _MEASURES.items()},
    **{f"test_{key}gain_low_db": f"gain over PCA{words}, lower end [dB]" for key, words in _MEASURES.items()},
    **{f"test_{key}gain_high_db": f"gain over PCA{words}, upper end [dB]" for key, words in _MEASURES.items()},
}


def _quantity(column: str) -> str:
    if column in _QUANTITIES:
        return _QUANTITIES[column]
    if (side := side_of(column)) is not None:
        return f"validation rate of local latents on {level_name(side)} cells [nats]"
    for ending, unit in (("_nats", " [nats]"), ("_db", " [dB]")):
        if column.endswith(ending):
            column = column.removesuffix(ending) + unit
            break
    return (
        column.replace("_", " ")
        .replace("psnr", "PSNR")
        .replace("ssim", "SSIM")
        .replace("pca", "PCA")
        .replace("elbo", "ELBO")
    )
