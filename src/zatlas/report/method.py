"""The last sections of the report: how it was made, and what it does not show."""

import re
from importlib import metadata
from typing import Any

import pandas as pd

from zatlas.atlas.projection import Projection, listed
from zatlas.report.figures.style import plain
from zatlas.report.findings.words import about_likelihood, by_likelihood, listing, unit_of
from zatlas.report.priors import divergence_words
from zatlas.report.training import in_force, training_texts
from zatlas.results.kinds import StudyResults
from zatlas.results.maps import without_inverse

__all__ = ["limits_texts", "method_blocks"]

Block = dict[str, Any]


def method_blocks(results: StudyResults) -> list[Any]:
    """A paragraph on the method, every setting, versions, seed and fingerprint, and how to cite the numbers."""
    facts = results.provenance
    blocks: list[Any] = [_text(text) for text in _method_texts(results)]
    command = " ".join(str(word) for word in facts.get("command", []))
    if command:
        blocks += [_text("Made by the command"), {"kind": "code", "text": _without_folders(command)}]
    blocks.append(_facts_table(results))
    blocks.append(_settings_table(results))
    blocks.append(_text(
        "To cite a number of this page, name zatlas and its version, the fingerprint of the images, the seed, "
        "the model and the split (test, unless said otherwise), and give the file of the figure (figures/….csv), "
        "which holds the number unrounded."
    ))  # fmt: skip
    return blocks


def _text(text: str) -> Block:
    return {"kind": "text", "text": text}


def _method_texts(results: StudyResults) -> list[str]:
    data = results.data
    seen = (
        f"tiles of {data.side_px} × {data.side_px} px"
        if data.is_tiled
        else f"whole images of {data.side_px} × {data.side_px} px"
    )
    kinds = by_likelihood(results.models) or {"bernoulli": []}
    names = [f"{about_likelihood(kind).loss}{f' ({listing(kinds[kind])})' if len(kinds) > 1 else ''}" for kind in kinds]
    return [
        f"Variational autoencoders were trained on {seen}, to minimise distortion + beta × rate. Distortion is the "
        f"{' or the '.join(names)}, summed over pixels; rate is "
        f"the Kullback-Leibler divergence of the posterior from {divergence_words(results)}; "
        f"both are in nats per {unit_of(results)}, averaged. {_betas(results)} Atlases, paths and reconstructions use "
        "the posterior mean.",
        *training_texts(results),
        "PSNR is on the grey range of the training pixels. "
        "PCA was fitted on training images with as many components as the model has latent dimensions, "
        "and its reconstructions were clipped to the same range. "
        "Probes are linear and cross-validated, with whole groups left out where there are groups.",
        *_map_texts(results),
    ]


def _betas(results: StudyResults) -> str:
    by_beta: dict[str, list[str]] = {}
    for model in results.models:
        by_beta.setdefault(f"{model.beta:g}", []).append(plain(model.name))
    each = [f"{beta} ({listing(names)})" if len(by_beta) > 1 else beta for beta, names in by_beta.items()]
    return f"Beta is {listing(each)}."


def _map_texts(results: StudyResults) -> list[str]:
    """How the maps were made; nothing of those that do not tell."""
    return [
        told
        for one in without_inverse(model.maps for model in results.models)
        if (told := _map_text(one.title, [m for model in results.models for m in model.maps if m.name == one.name]))
    ]


def _map_text(title: str, maps: list[Projection]) -> str:
    methods = list(dict.fromkeys(str(one.facts["method"]) for one in maps if one.facts.get("method")))
    starts = [f"; started from the {one.facts['initialisation']}" for one in maps if one.facts.get("initialisation")]
    return f"{title} maps: {'; '.join(methods)}{''.join(starts[:1])}." if methods else ""


def _without_folders(command: str) -> str:
    """Absolute paths cut to their last part, so that the page does not tell where things lie on a computer."""
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\]+[/\\])+", "…/", command)


def _facts_table(results: StudyResults) -> Block:
    facts = results.provenance
    environment = facts.get("environment", facts.get("versions", {}))
    rows = [("zatlas", metadata.version("zatlas")), ("seed", str(facts.get("seed", results.config.get("seed", "–"))))]
    rows.append(("fingerprint of the images (sha256)", str(facts.get("fingerprint", "–"))))
    if isinstance(environment, dict):
        rows += [(str(name), str(version)) for name, version in environment.items() if name != "zatlas"]
    records = facts.get("training") or {}
    for model in results.models:
        rows += _choices(plain(model.name), records.get(model.name))
    return _two_columns(rows, "Provenance", "What the numbers depend on.", ("what", "value"))


def _choices(model: str, training: Any) -> list[tuple[str, str]]:
    """What training chose by itself, with its reasons."""
    if not isinstance(training, dict):
        return []
    rows = []
    for name in ("best_epoch", "epochs", "seconds", "state"):
        if name in training:
            rows.append((f"{model}: {name.replace('_', ' ')}", _value(training[name])))
    choices = training.get("choices", {})
    if isinstance(choices, dict):
        rows += [(f"{model}: {name.replace('_', ' ')}", _reason(_value(value))) for name, value in choices.items()]
    elif isinstance(choices, list):
        rows += [(f"{model}: choice", _value(value)) for value in choices]
    return rows


def _reason(text: str) -> str:
    """A reason without the page of the documentation that has its measurement."""
    return re.sub(r" \([a-z_]+\.md\)", "", text)


def _settings_table(results: StudyResults) -> Block:
    rows: list[tuple[str, str]] = []
    became = in_force(results)
    for name, value in results.settings.items():
        if isinstance(value, dict):
            rows += [
                (f"{name}.{key}", _became(_value(inner), became.get(f"{name}.{key}"))) for key, inner in value.items()
            ]
        else:
            rows.append((str(name), _value(value)))
    caption = (
        "Every setting as in study.toml, defaults too; in brackets what it became where that was left to zatlas or a "
        "short training bounds it."
    )
    return _two_columns(rows, "Settings", caption, ("setting", "value"))


def _became(asked: str, found: str | None) -> str:
    """`auto [on]`: what was asked for, and what it became where that is another thing."""
    is_same = found is None or found == asked.replace(", ", " ")
    return asked if is_same else f"{asked} [{found}]"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "–"
    if isinstance(value, dict) and set(value) == {"reason", "value"}:
        return f"{_value(value['value'])} ({_value(value['reason'])})"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return _without_folders(str(value)) if str(value) else "–"


def _two_columns(rows: list[tuple[str, str]], title: str, caption: str, header: tuple[str, str]) -> Block:
    table = pd.DataFrame(rows, columns=list(header))
    return {
        "kind": "table",
        "title": title,
        "caption": caption,
        "header": list(table.columns),
        "rows": [[plain(name, 80), plain(value, 400)] for name, value in rows],
        "is_number": [False, False],
        "best": set(),
    }


def _maps_named(results: StudyResults) -> str:
    titles = [plain(one.title) for one in without_inverse(model.maps for model in results.models)]
    return listed([*titles, "the first two principal components"]) if titles else "The first two principal components"


def limits_texts(results: StudyResults) -> list[str]:
    """What a reader might take from the page although it does not show it."""
    data = results.data
    texts = [
        (
            "Generated images (paths, traversals, samples) show what the model has learnt, not tissue, "
            "patients or intermediate states that exist. Nothing here is for diagnosis."
        ),
        (
            "A direction of the latent space has no name. "
            "That a feature or a label changes along it does not make it the cause, "
            "and another seed turns the axes differently. Independent meanings of single dimensions are not claimed."
        ),
        (
            "Clusters are regions of the latent space that one model found useful for reconstruction. "
            "They are not types of tissue or disease unless other evidence says so."
        ),
        (
            f"{_maps_named(results)} are flat pictures of a space with more dimensions; what looks close or apart "
            "there may not be."
        ),
    ]
    if not results.is_by_size:
        texts.append("Each model was trained once. A small difference between two models may be one of seeds.")
    elif len(results.models) > 1:
        texts.append(
            "Each latent size was trained once, with one seed. A small difference between sizes may be one of seeds."
        )
    else:
        texts.append(
            "The model was trained once, with one seed; how much its numbers vary between seeds was not measured."
        )
    if len(data.groups) > 1:
        n_test = int((data.groups["test"] > 0).sum()) if "test" in data.groups else 0
        if n_test == 1:
            texts.append(
                "The test split is one group. "
                "How well the models do on yet another one cannot be told from a single one."
            )
    else:
        texts.append(
            "The images have no groups (such as patients or brains). "
            "If several images come from one subject, training and test images may be related, "
            "and the numbers for new subjects are worse than those given here."
        )
    texts += [caution for kind in by_likelihood(results.models) if (caution := about_likelihood(kind).caution)]
    texts.append("Bad, doubled or mislabelled images were not searched for beyond damaged files.")
    return texts
