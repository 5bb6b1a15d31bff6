"""Findings about the latent space: clusters, maps, walks, samples, and what may be stain rather than tissue."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from zatlas.atlas.projection import Projection
from zatlas.report.figures.style import count, number, plain
from zatlas.report.findings.words import grade, in_order, listing, those
from zatlas.results.kinds import Finding, ModelResults, StudyResults, Walk
from zatlas.results.maps import agreement_name, trust_name, without_inverse
from zatlas.trust.associations import cramers_v, largest_excess
from zatlas.trust.support import nearest_ratio

__all__ = [
    "changes_along_walks",
    "clusters_and_images",
    "data_warnings",
    "maps_between_sizes",
    "organisation_between_sizes",
    "samples_and_prior",
    "tissue_or_source",
]


def clusters_and_images(results: StudyResults) -> Finding | None:
    """Do the clusters differ in their images, and in their labels?"""
    texts, numbers = [], {}
    for model in in_order(results):
        if not model.cluster_info.get("k"):
            continue
        words, values = _one_clustering(model)
        texts.append(words)
        numbers[model.name] = values
    if not texts:
        return None
    return Finding(
        section="clusters",
        question=f"Do the {_cells(results.models)} differ in their images?",
        text="\n".join(texts),
        numbers=numbers,
    )


def _cells(models: Sequence[ModelResults]) -> str:
    """`clusters`, `regions` or both: what the cells of k-means are in some models."""
    return " and ".join(dict.fromkeys(f"{model.cell}s" for model in models if model.cluster_info.get("k")))


def _one_clustering(model: ModelResults) -> tuple[str, dict[str, Any]]:
    info = model.cluster_info
    distinct = [d for d in info.get("distinct", []) if math.isfinite(float(d["between_share"]))]
    distinct = sorted(distinct, key=lambda d: -float(d["between_share"]))
    values: dict[str, Any] = {
        "k": int(info["k"]),
        "between_share": {d["feature"]: d["between_share"] for d in distinct},
    }
    strong = [d for d in distinct if float(d["between_share"]) >= 0.25][:3]
    name = plain(model.name)
    if strong:
        rest = [f"{d.get('words', d['feature'])} ({100 * float(d['between_share']):.0f} %)" for d in strong[1:]]
        shares = [_share_words(strong[0], model.cell), *rest]
        words = f"The {info['k']} {model.cell}s of {name} differ in their images, most in {listing(shares)}. "
    elif distinct:
        words = (
            f"The {info['k']} {model.cell}s of {name} differ little in the image features that were measured, "
            f"most in {_share_words(distinct[0], model.cell)}. "
        )
    else:
        words = f"{name} has {count(int(info['k']), model.cell)}. "
    words += _labels_of_clusters(model, values) + _cluster_or_continuum(info)
    return words.strip(), values


def _share_words(entry: dict[str, Any], cell: str) -> str:
    share = f"{100 * float(entry['between_share']):.0f} % of its variance lies between {cell}s"
    return f"{entry.get('words', entry['feature'])} ({share})"


def _labels_of_clusters(model: ModelResults, values: dict[str, Any]) -> str:
    """Which labels go with the clusters, by Cramér's V of the cross tables."""
    tables = {name: table for name, table in model.cluster_info.get("tables", {}).items() if _is_crosstab(table)}
    strengths = {str(name): cramers_v(table.to_numpy(dtype=float)) for name, table in tables.items()}
    values["association"] = strengths
    known = sorted(((v, name) for name, v in strengths.items() if math.isfinite(v)), reverse=True)
    if not known:
        return ""
    each = [f"{plain(name)} {value:.2f}" for value, name in known[:4]]
    level = grade(known[0][0], ((0.5, "strong"), (0.25, "moderate"), (0.1, "weak"), (0.0, "negligible")))
    words = (
        f"Their association with the labels (Cramér's V, 0 to 1) is {listing(each)}: "
        f"{level}{' at most' if len(known) > 1 else ''}. "
    )
    if known[0][0] >= 0.25:
        words += _most_telling(tables[known[0][1]], known[0][1], model.cell)
    return words


def _is_crosstab(table: Any) -> bool:
    return isinstance(table, pd.DataFrame) and min(table.shape, default=0) >= 2 and table.to_numpy().sum() > 0


def _most_telling(table: pd.DataFrame, label: str, cell: str) -> str:
    """The cluster and the value of a label whose share in the cluster is farthest above its share in all images."""
    row, column, share, overall = largest_excess(table.to_numpy(dtype=float))
    return (
        f"For example, {100 * share:.0f} % of {cell} {plain(table.index[row])} have {plain(label)} "
        f"“{plain(table.columns[column])}”, against {100 * overall:.0f} % of all. "
    )


def _cluster_or_continuum(info: dict[str, Any]) -> str:
    text = str(info.get("text", "")).strip()
    if text:
        return f"Clusters or a continuum? {text if text.endswith('.') else text + '.'} "
    verdict = str(info.get("verdict", ""))
    return f"Verdict of the test against one Gaussian cloud: {verdict}. " if verdict else ""


_SIZES = {True: "sizes", False: "models"}
_LATENT_SIZES = {True: "latent sizes", False: "the models"}


def organisation_between_sizes(results: StudyResults) -> Finding | None:
    """Is the latent space organised differently between latent sizes?"""
    models = in_order(results)
    if len(models) < 2:
        return None
    numbers: dict[str, Any] = {"ari": {}, "neighbour_overlap": {}, "distance_correlation": {}}
    texts = []
    for a, b in pairwise(models):
        words = _one_pair(a.name, b.name, results, numbers)
        if words:
            texts.append(words)
    if not texts:
        return None
    overlaps = [value for value in numbers["neighbour_overlap"].values() if math.isfinite(value)]
    text = " ".join(texts)
    if overlaps:
        lead = grade(
            float(np.mean(overlaps)),
            (
                (0.6, "The local order is largely the same"),
                (0.3, "The local order is partly the same"),
                (0.0, "The local order is largely different"),
            ),
        )
        text = (
            f"{lead} between successive {_SIZES[results.is_by_size]}: an image keeps on average "
            f"{100 * float(np.mean(overlaps)):.0f} % of its nearest neighbours. {text}"
        )
    rates = [
        (
            f"{number(float(np.sum(model.rate_per_dim)))} nats over "
            f"{count(int(np.sum(model.is_active)), 'active dimension')} in {plain(model.name)}"
        )
        for model in models
    ]
    text += f" What is stored is spread differently: {listing(rates)}."
    return Finding(
        section="organisation",
        question=f"Is the latent space organised differently between {_LATENT_SIZES[results.is_by_size]}?",
        text=text,
        numbers=numbers,
    )


def _one_pair(a: str, b: str, results: StudyResults, numbers: dict[str, Any]) -> str:
    comparison, pair, parts = results.comparison, f"{a} and {b}", []
    overlap = comparison.neighbour_overlap
    if a in overlap.index and b in overlap.columns:
        shared = float(overlap[b].astype(float)[a])
        numbers["neighbour_overlap"][pair] = shared
        parts.append(f"{100 * shared:.0f} % of nearest neighbours are common")
    row = _pair_row(comparison.map_similarity, a, b)
    if row is not None and math.isfinite(float(row["distance_correlation"])):
        numbers["distance_correlation"][pair] = float(row["distance_correlation"])
        parts.append(f"the rank correlation of latent distances is {float(row['distance_correlation']):.2f}")
    match = next((m for m in comparison.cluster_matches if {m["a"], m["b"]} == {a, b}), None)
    if match is not None:
        numbers["ari"][pair] = float(match["ari"])
        same = grade(
            float(match["ari"]),
            (
                (0.65, "largely the same division"),
                (0.3, "partly the same division"),
                (-1.0, "largely another division"),
            ),
        )
        parts.append(
            f"the regions of k-means are {same} "
            f"(adjusted Rand index {float(match['ari']):.2f}; 0 is chance, 1 is equal)"
        )
    return f"Between {plain(a)} and {plain(b)}, {listing(parts)}." if parts else ""


def _pair_row(table: pd.DataFrame, a: str, b: str) -> pd.Series | None:
    if len(table) == 0:
        return None
    rows = table[((table["a"] == a) & (table["b"] == b)) | ((table["a"] == b) & (table["b"] == a))]
    return rows.iloc[0] if len(rows) else None


def maps_between_sizes(results: StudyResults) -> Finding | None:
    """Are the maps different, and can they be trusted?"""
    models = in_order(results)
    numbers: dict[str, Any] = {}
    texts = [_one_map(results, models, one, numbers) for one in without_inverse(model.maps for model in models)]
    text = " ".join(words for words in texts if words)
    if not text:
        return None
    question = (
        "Are the maps of the models different, and can they be trusted?"
        if len(models) > 1
        else "Can the map be trusted?"
    )
    return Finding(section="maps", question=question, text=text, numbers=numbers)


def _one_map(results: StudyResults, models: Sequence[ModelResults], one: Projection, numbers: dict[str, Any]) -> str:
    """What is said of one map of all models; its numbers go into `numbers`."""
    trust = {model.name: m.trustworthiness for model in models for m in model.maps if m.name == one.name}
    known = {name: value for name, value in trust.items() if math.isfinite(value)}
    key, title, text = agreement_name(one.name), plain(one.title), ""
    numbers |= {trust_name(one.name): known, key: {}}
    if known:
        each = [f"{value:.2f} for {plain(name)}" for name, value in known.items()]
        text = (
            f"Neighbours on the {title} map are neighbours in latent space with a trustworthiness of "
            f"{listing(each)} (1 is perfect). "
        )
    pairs = []
    for a, b in pairwise(models):
        row = _pair_row(results.comparison.map_similarity, a.name, b.name)
        if row is not None and math.isfinite(float(row.get(key, math.nan))):
            numbers[key][f"{a.name} and {b.name}"] = float(row[key])
            pairs.append(f"{float(row[key]):.2f} for {plain(a.name)} and {plain(b.name)}")
    if pairs:
        lead = grade(
            float(np.mean(list(numbers[key].values()))),
            ((0.8, "much alike"), (0.5, "alike in their coarse layout"), (0.0, "laid out differently")),
        )
        text += (
            f"The {title} maps of successive {_SIZES[results.is_by_size]} are {lead}: "
            f"after turning and scaling one onto the other their agreement is {listing(pairs)} (0 to 1). "
        )
    return f"{text}{plain(one.reading, 400)}" if text else ""


def changes_along_walks(results: StudyResults) -> Finding | None:
    """Which image features change along each walk?"""
    texts: list[str] = []
    numbers: dict[str, Any] = {}
    for model in in_order(results):
        if not model.walks:
            continue
        numbers[model.name] = {walk.name: {c["feature"]: c["ratio"] for c in walk.changes} for walk in model.walks}
        silent = [plain(walk.name, 40) for walk in model.walks if not walk.changes]
        parts = [f"along {plain(walk.name, 40)}, {_change_words(walk)}" for walk in model.walks if walk.changes]
        words = f"{plain(model.name)}: {'; '.join(parts)}." if parts else f"{plain(model.name)}:"
        if silent:
            words += f" Along {listing(silent)} no measured feature changes steadily by a standard deviation or more."
        far = [walk for walk in model.walks if len(walk.nearest_distance) and float(np.max(walk.nearest_distance)) > 3]
        if far:
            names = [f"{plain(walk.name, 40)} ({float(np.max(walk.nearest_distance)):.1f})" for walk in far]
            words += (
                f" Far from any real image, at more than three median neighbour distances: {listing(names)}; "
                "read their middle with care."
            )
        texts.append(words)
    if not texts:
        return None
    text = "\n".join(["Changes from one end to the other, in standard deviations of the real images:", *texts])
    return Finding(section="walks", question="Which image features change along each path?", text=text, numbers=numbers)


def _change_words(walk: Walk) -> str:
    parts = []
    for i, change in enumerate(walk.changes[:3]):
        ratio = float(change["ratio"])
        unit = "" if i else f" standard deviation{'' if f'{ratio:.1f}' == '1.0' else 's'}"
        parts.append(f"{change_text(change)}{unit}")
    return listing(parts)


def change_text(change: dict[str, Any]) -> str:
    """`brightness falls by 3.5`, `the centre of mass moves up by 3.6`, in standard deviations of the images."""
    name = str(change["feature"])
    subject = "the centre of mass" if name.startswith("centre_of_mass") else str(change.get("words", name))
    return f"{subject} {change.get('direction', 'changes')} by {float(change['ratio']):.1f}"


def samples_and_prior(results: StudyResults) -> Finding | None:
    """What do samples look like, against draws of the prior?"""
    models = [m for m in in_order(results) if math.isfinite(float(m.samples.mismatch.get("auc", float("nan"))))]
    if not models:
        return None
    numbers: dict[str, Any] = {m.name: {**m.samples.mismatch, "nearest_ratio": _nearest_ratio(m)} for m in models}
    aucs = [float(m.samples.mismatch["auc"]) for m in models]
    divergences = [float(m.samples.mismatch.get("kl_nats", float("nan"))) for m in models]
    text = (
        f"With {those(results, models)} a classifier tells the latents of training images from draws of the prior with "
        f"an area under the curve of {listing([f'{auc:.2f}' for auc in aucs])} (0.5: not at all, 1: always). "
    )
    if all(math.isfinite(value) for value in divergences):
        text += f"The divergence of the latents from the prior is {listing([number(d) for d in divergences])} nats. "
    text += _beside_the_prior(models, aucs) + _nearest_words(models)
    text += (
        "New images are drawn from a Gaussian mixture fitted to the latents of the training images, "
        "its size chosen by held-out likelihood; draws of the prior are shown as a diagnosis only."
    )
    question = "What do samples look like, against draws of the prior?"
    return Finding(section="samples", question=question, text=text, numbers=numbers)


def _beside_the_prior(models: list[ModelResults], aucs: list[float]) -> str:
    steps = ((0.9, "far from"), (0.7, "clearly apart from"), (0.6, "somewhat apart from"), (0.0, "close to"))
    by_level: dict[str, list[str]] = {}
    for model, auc in zip(models, aucs, strict=True):
        by_level.setdefault(grade(auc, steps), []).append(plain(model.name))
    parts = [f"{level} the prior ({listing(names)})" for level, names in by_level.items()]
    words = f"So the latents lie {listing(parts) if len(by_level) > 1 else f'{next(iter(by_level))} the prior'}"
    if max(aucs) >= 0.7:
        return f"{words}, and draws of the prior fall where few or no images lie and need not look like images. "
    return f"{words}, and draws of the prior fall mostly where images lie. "


def _nearest_ratio(model: ModelResults) -> float:
    """Median distance of samples to their nearest training code, relative to that between real neighbours."""
    distances = np.asarray(model.neighbours.get("distances", np.zeros((0, 0))), dtype=float)
    return nearest_ratio(model.samples.nearest_distance, distances[:, 0] if distances.size else np.zeros(0))


def _nearest_words(models: list[ModelResults]) -> str:
    """Whether samples are copies of training images."""
    ratios = [_nearest_ratio(model) for model in models]
    if not all(math.isfinite(ratio) for ratio in ratios):
        return ""
    words = (
        f"A fitted sample lies {listing([number(ratio, 2) for ratio in ratios])} times as far from its nearest "
        "training image as a real image from its nearest neighbour (medians). "
    )
    close = [plain(model.name) for model, ratio in zip(models, ratios, strict=True) if ratio < 0.3]
    return words + (f"In {listing(close)} samples may therefore be near copies. " if close else "")


def tissue_or_source(results: StudyResults) -> Finding | None:
    """Is what the model shows tissue, or stain and source?"""
    models = [model for model in in_order(results) if len(model.probes)]
    if not models:
        return None
    numbers = {
        model.name: {
            str(row["label"]): {"latents": float(row["score_latents"]), "histogram": float(row["score_histogram"])}
            for row in model.probes.to_dict("records")
        }
        for model in models
    }
    labels = _confounders(models[-1].probes)
    texts = [_one_label(results, models, label) for label in labels]
    if not texts:
        best = str(models[-1].probes.sort_values("score_latents", ascending=False)["label"].iloc[0])
        texts = [_one_label(results, models, best), "No label names a source or a stain."]
    texts.append("A probe shows what can be read from a latent, not what the model was made to keep.")
    question = "Is what the model shows tissue, or stain and source?"
    return Finding(section="source", question=question, text=" ".join(texts), numbers=numbers)


_SOURCE_WORDS = ("group", "source", "stain", "site", "scanner", "hospital", "brain", "batch", "dataset", "squashed")


def _confounders(probes: pd.DataFrame) -> list[str]:
    """Labels that look like a source of images rather than their content, at most three."""
    labels = [str(label) for label in probes["label"]]
    return [label for label in labels if any(word in label.lower() for word in _SOURCE_WORDS)][:3]


def _one_label(results: StudyResults, models: list[ModelResults], label: str) -> str:
    rows = [row for model in models for row in model.probes.to_dict("records") if str(row["label"]) == label]
    ours, histogram = [float(row["score_latents"]) for row in rows], float(rows[-1]["score_histogram"])
    chance = float(rows[-1].get("null", float("nan")))
    by_chance = f"; knowing nothing gives {chance:.2f}" if math.isfinite(chance) else ""
    shown, name = plain(label), _metric_word(rows[-1]["metric"])
    words = (
        f"From {those(results, models)}, “{shown}” can be read with {name} "
        f"{listing([_decimal(value) for value in ours])}, from the grey "
        f"histogram alone with {_decimal(histogram)}{by_chance}."
    )
    best = max(ours)
    if best - (chance if math.isfinite(chance) else 0.0) < 0.1:
        return words + f" So “{shown}” leaves little trace in the latents."
    if histogram >= best - 0.05:
        return words + (
            f" Brightness and stain alone tell as much, so differences between values of “{shown}” in the latent space "
            "may be no more than that."
        )
    return words + (
        f" The latents hold more about “{shown}” than the greys alone; "
        "whether that is structure or processing, a probe cannot say."
    )


def _decimal(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _metric_word(name: Any) -> str:
    return "R²" if str(name).upper() == "R2" else plain(name)


def data_warnings(results: StudyResults) -> Finding | None:
    """What must a reader know about the images and the split?"""
    data = results.data
    parts = [text.strip() for text in data.warnings if text.strip()]
    if data.n_rejected:
        was = "was" if data.n_rejected == 1 else "were"
        parts.append(f"{count(data.n_rejected, 'damaged file')} {was} set aside, see data/rejected.csv")
    if not parts:
        return None
    text = " ".join(f"{part[0].upper()}{part[1:]}{'' if part.endswith(('.', '!', '?')) else '.'}" for part in parts)
    return Finding(
        section="warnings",
        question="What must a reader know about the images and the split?",
        text=text,
        numbers={"n_rejected": data.n_rejected, "n_warnings": len(data.warnings)},
    )
