"""Findings about the models: reconstructions, PCA, the gap to new images, what is lost, the objective."""

import math
from itertools import pairwise
from typing import Any

import numpy as np

from zatlas.report.figures.style import count, number, plain, signed
from zatlas.report.findings.words import (
    about_likelihood,
    by_likelihood,
    exact_words,
    gain,
    groups_of_test,
    has_empty,
    in_order,
    listing,
    metric,
    own_options,
    psnr_error,
    tests,
    those,
    unit_of,
)
from zatlas.results.kinds import Finding, ModelResults, StudyResults
from zatlas.results.levels import levels
from zatlas.trust.evaluation import bits, relative_error, texture_kept
from zatlas.trust.gains import GAINS, SHOWN_DB, gain_text, gain_verdict
from zatlas.trust.uncertainty import difference_error

__all__ = [
    "against_pca",
    "dimensions_in_use",
    "objective",
    "reconstructions_between_sizes",
    "train_test_gap",
    "what_is_lost",
]


def _measured(results: StudyResults, *names: str, part: str = "test") -> list[ModelResults]:
    """Models for which all these metrics are known."""
    models = in_order(results)
    return [model for model in models if all(math.isfinite(metric(model, part, name)) for name in names)]


def reconstructions_between_sizes(results: StudyResults) -> Finding | None:
    """How do reconstructions differ between latent sizes, and why?"""
    models = _measured(results, "psnr_db", "distortion_nats", "rate_nats")
    if not models:
        return None
    numbers: dict[str, Any] = {
        model.name: {name: metric(model, "test", name) for name in ("psnr_db", "ssim", "distortion_nats", "rate_nats")}
        for model in models
    }
    psnr = listing([f"{metric(model, 'test', 'psnr_db'):.1f}" for model in models])
    held = tests(models[0], results.data.is_tiled)
    text = f"With {those(results, models)} the mean PSNR on {held} is {psnr} dB"
    ssim = [f"{metric(model, 'test', 'ssim'):.2f}" for model in models]
    text += f" (SSIM {listing(ssim)}). " if "nan" not in ssim else ". "
    if len(models) == 1:
        text += _carried(models[0], unit_of(results))
        return Finding(
            section="reconstructions", question="How good are the reconstructions?", text=text, numbers=numbers
        )
    if results.is_by_size:
        question = "How do the reconstructions differ between latent sizes, and why?"
        text += _from_small_to_large(models[0], models[-1], numbers, unit_of(results)) + _per_dimension(models, numbers)
    else:
        question = "How do the reconstructions differ between the models?"
        text += " ".join(_against_first(results, models[0], other, numbers) for other in models[1:])
    return Finding(section="reconstructions", question=question, text=text.strip(), numbers=numbers)


def _against_first(results: StudyResults, first: ModelResults, other: ModelResults, numbers: dict[str, Any]) -> str:
    """Two models that differ in whatever they differ in; distortion only where it is of the same likelihood."""
    names = ["psnr_db", "rate_nats", *(["distortion_nats"] if first.likelihood == other.likelihood else [])]
    change = {name: metric(other, "test", name) - metric(first, "test", name) for name in names}
    numbers.setdefault("against_first", {})[other.name] = change
    own = own_options(results, other.name)
    words = f"Against {plain(first.name)}, {plain(other.name)}{f' ({own})' if own else ''} has "
    parts = [f"{signed(change['psnr_db'])} dB", f"{_nats(change['rate_nats'])} nats of rate"]
    parts += [f"{_nats(change[name])} nats of distortion per {unit_of(results)}" for name in names[2:]]
    doubt = 2 * difference_error(psnr_error(first), psnr_error(other))
    if math.isfinite(doubt) and abs(change["psnr_db"]) < doubt:
        return (
            f"{words}{listing(parts)}; the difference in PSNR is smaller than twice its standard error "
            f"({doubt:.2f} dB, taken as if the images were different ones), so it may be chance."
        )
    return f"{words}{listing(parts)}."


def _nats(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{number(abs(value))}"


def _carried(model: ModelResults, unit: str) -> str:
    """What the latents of a model say about an image, and how that divides into levels."""
    carried = f"{number(metric(model, 'test', 'rate_nats'))} nats about a test {unit}."
    found = levels(model)
    if not found:
        return f"The latent carries {carried}"
    z, *local = found
    return (
        f"All latents together carry {carried} "
        f"About a validation {unit} z says {number(z.rate_nats)} nats, and the local latents of "
        + listing([f"{one.name} cells {number(one.rate_nats)}" for one in local])
        + "."
    )


def _from_small_to_large(small: ModelResults, large: ModelResults, numbers: dict[str, Any], unit: str) -> str:
    gain = metric(large, "test", "psnr_db") - metric(small, "test", "psnr_db")
    fall = metric(small, "test", "distortion_nats") - metric(large, "test", "distortion_nats")
    more = metric(large, "test", "rate_nats") - metric(small, "test", "rate_nats")
    numbers.update(psnr_gain_db=gain, distortion_fall_nats=fall, rate_rise_nats=more)
    words = (
        f"From {plain(small.name)} to {plain(large.name)} it changes by {signed(gain)} dB, "
        f"and the distortion {'falls' if fall > 0 else 'rises'} by {number(abs(fall))} nats per {unit}. "
    )
    rates = (
        f"The rate, which is how much the latent says about {'a tile' if unit == 'tile' else 'an image'}, "
        f"goes from {number(metric(small, 'test', 'rate_nats'))} to {number(metric(large, 'test', 'rate_nats'))} nats"
    )
    if 0 < gain < 2 * difference_error(psnr_error(small), psnr_error(large)) and more > 0:
        return words + rates + ": the larger latent says a little more, which hardly shows in the reconstructions. "
    if gain > 0 and more > 0:
        return (
            words + rates + ": the larger latent says more about each image, and so the decoder has to leave less out. "
        )
    if gain <= 0 and more > 0:
        return words + rates + ", yet the reconstructions of new images are no better for it. "
    return words + rates + ": the larger latent is not used to say more. "


def _per_dimension(models: list[ModelResults], numbers: dict[str, Any]) -> str:
    """What each added dimension brings, and which steps are within the noise."""
    words, gains = "", []
    for a, b in pairwise(models):
        gain = metric(b, "test", "psnr_db") - metric(a, "test", "psnr_db")
        gains.append(gain / (b.latent_dim - a.latent_dim))
        doubt = 2 * difference_error(psnr_error(a), psnr_error(b))
        if math.isfinite(doubt) and abs(gain) < doubt:
            words += (
                f"The step from {plain(a.name)} to {plain(b.name)} ({signed(gain)} dB) is smaller than twice its "
                f"standard error ({doubt:.2f} dB, taken as if the images were different ones), so it may be chance. "
            )
    numbers["gain_per_dim_db"] = gains
    if len(gains) > 1 and all(gain > 0 for gain in gains) and all(x > y for x, y in pairwise(gains)):
        steps = [f"{gain:.2f} dB" if gain >= 0.005 else "less than 0.01 dB" for gain in gains]
        words += (
            f"Each added dimension brings less than the ones before ({listing(steps)} per dimension in the "
            "successive steps), "
            "as when the first dimensions take what varies most between images and later ones what is left."
        )
    return words


def against_pca(results: StudyResults) -> Finding | None:
    """Is the VAE better than PCA of the same size on held-out data?"""
    models = _measured(results, "psnr_db", "pca_psnr_db")
    if not models:
        return None
    found = {model.name: gain(model) for model in models}
    gaps = {name: one.db for name, one in found.items()}
    better = [model for model in models if gain_verdict(found[model.name]) == "beats"]
    worse = [model for model in models if gain_verdict(found[model.name]) == "stays below"]
    held = tests(models[0], results.data.is_tiled)
    verdict = _verdict(results, len(models), len(better), len(worse))
    text = (
        f"{verdict}: with {those(results, models)} the mean PSNR of the VAE on {held} is "
        f"{_higher_or_lower(models, gaps)} that of PCA with "
        f"as many components. {_began_with_pca(models)}{_three_measures(results, models)}"
        f"{_about_the_pca(results, models)}"
    )
    text += _ssim_against_pca(models)
    text += _beside_local_latents(models)
    if worse:
        names = listing([plain(model.name) for model in worse])
        text += (
            f"Where PCA is ahead ({names}), the VAE has not learnt what a linear projection of that size can keep: "
            "more training may help."
        )
    numbers = {
        "psnr_gap_db": gaps,
        "gains": {model.name: {name: list(gain(model, name)) for name in GAINS} for model in models},
    }
    return Finding(
        section="pca", question="Is the VAE better than PCA of the same size?", text=text.strip(), numbers=numbers
    )


def _began_with_pca(models: list[ModelResults]) -> str:
    """Models that are PCA still, because no epoch was better."""
    names = listing([plain(model.name) for model in models if model.kept_epoch == 0])
    if not names:
        return ""
    return (
        f"No epoch of {names} was better on validation images than the principal components with which training began, "
        "so the network as it began was kept (epoch 0): it reconstructs as PCA does. "
    )


def _three_measures(results: StudyResults, models: list[ModelResults]) -> str:
    """Each model's verdict with its interval, then without empty tiles, then by the pooled error."""
    models = [model for model in models if math.isfinite(gain(model, "pooled_").db)]
    if not models:
        return ""
    groups = groups_of_test(results, models[0])
    over = f", on {groups} (95 % over them)" if groups else ""
    unit = unit_of(results)
    words = f"By the mean over {unit}s {_verdicts(models, '')}{over}. "
    words += exact_words(results, models)
    n_empty = int(metric(models[0], "test", "n_empty"))
    with_content = [model for model in models if has_empty(model)]
    if with_content:
        words += (
            f"Without the {count(n_empty, unit)} that {'is' if n_empty == 1 else 'are'} nearly empty "
            f"{_verdicts(with_content, 'content_')}. "
        )
    words += f"By the error pooled over all pixels {_verdicts(models, 'pooled_')}. "
    if not groups:
        words += "The test split is of one group, so that nothing says how far this holds for another one. "
    return words


def _verdicts(models: list[ModelResults], measure: str) -> str:
    found = []
    for model in models:
        text = gain_text(gain(model, measure), model.latent_dim)
        found.append(f"{plain(model.name)} {'is ' if text.startswith('level') else ''}{text}")
    return listing(found)


def _about_the_pca(results: StudyResults, models: list[ModelResults]) -> str:
    """What the PCA beside each model was shown: one sentence for each case."""
    by_case: dict[str, list[ModelResults]] = {}
    for model in models:
        by_case.setdefault(_pca_case(model.pca_facts), []).append(model)
    sentences = [_shown_to_pca(results, case, some, len(by_case) > 1) for case, some in by_case.items()]
    return f"{' '.join(sentences)} Its reconstructions are clipped to the same grey range. "


def _pca_case(facts: dict[str, Any]) -> str:
    """How a PCA came about, of the cases that `_shown_to_pca` has a sentence for."""
    if "draws" not in facts:
        return "unknown"
    if not facts["is_augmented"] and math.isfinite(float(facts.get("other_db", math.nan))):
        return "plain, chosen"
    kind = "varied" if facts["is_augmented"] else "plain"
    return f"{kind}, {'settled' if facts['is_settled'] else 'open'}"


def _shown_to_pca(results: StudyResults, case: str, models: list[ModelResults], names_them: bool) -> str:
    unit = unit_of(results)
    who = f"PCA beside {listing([plain(model.name) for model in models])}" if names_them else "PCA"
    if case == "unknown":
        return f"{who} was fitted to the same training images."
    facts = [model.pca_facts for model in models]
    draws = listing(list(dict.fromkeys(f"{int(one['n_draws']):,}".replace(",", "\u202f") for one in facts)))
    shown = f"{who} was shown {draws} training {unit}s"
    if case == "plain, chosen":
        worse = [f"{float(one['validation_db'][-1]) - float(one['other_db']):.2f}" for one in facts]
        return (
            f"{shown} as they are: shifted, zoomed or flipped like those of the network, they made it "
            f"{listing(list(dict.fromkeys(worse)))} dB worse on validation images."
        )
    if case == "plain, settled":
        return f"{shown} as they are, which is also what the network saw."
    how = "varied as for the network, repeats counted" if case.startswith("varied") else "as they are"
    if case.endswith("settled"):
        return (
            f"{shown}, {how}. On validation images half as many made it less than 0.02 dB worse, so more would hardly "
            "help."
        )
    return f"{shown}, {how}. With more of them it might still become a little better."


def _beside_local_latents(models: list[ModelResults]) -> str:
    """That reconstructions with local latents are no match for PCA of the same size."""
    local = [f"{model.n_local} ({plain(model.name)})" for model in models if model.n_local]
    if not local:
        return ""
    return (
        f"This is not a match of equals: reconstructions also take local latents, {listing(local)} of them, which PCA "
        "has not. What z alone holds is no more than samples and paths show. "
    )


def _verdict(results: StudyResults, n: int, n_better: int, n_worse: int) -> str:
    """`The VAE beats PCA of the same size at 2 of 3 latent sizes`: a sentence that needs no question before it."""
    at, one = ("at", "latent size") if results.is_by_size else ("with", "model")
    if max(n_better, n_worse) == n or n_better + n_worse == 0:
        does = "beats" if n_better else "stays below" if n_worse else "is level with"
        return f"The VAE {does} PCA of the same size{f' {at} every {one}' if n > 1 else ''}"
    of = f"of {count(n, one)}"
    if n_better and n_worse:
        return f"The VAE beats PCA of the same size {at} {n_better} {of} and stays below it {at} {n_worse}"
    does, some = ("beats", n_better) if n_better else ("stays below", n_worse)
    return f"The VAE {does} PCA of the same size {at} {some} {of} and is level with it {at} {n - some}"


def _higher_or_lower(models: list[ModelResults], gaps: dict[str, float]) -> str:
    values = [gaps[model.name] for model in models]
    if min(values) >= 0 or max(values) <= 0:
        each = listing([f"{abs(value):.2f}" for value in values])
        if max(map(abs, values)) < SHOWN_DB:
            return f"{each} dB from"
        return f"{each} dB {'above' if min(values) >= 0 else 'below'}"
    return f"{listing([signed(value) for value in values])} dB from"


def _ssim_against_pca(models: list[ModelResults]) -> str:
    pairs = [(metric(model, "test", "ssim"), metric(model, "test", "pca_ssim")) for model in models]
    if not all(math.isfinite(a) and math.isfinite(b) for a, b in pairs):
        return ""
    each = [f"{a:.2f} against {b:.2f}" for a, b in pairs]
    return f"In SSIM it is {listing(each)}. "


def train_test_gap(results: StudyResults) -> Finding | None:
    """How much worse are new images than those of training?"""
    models = [m for m in _measured(results, "psnr_db") if math.isfinite(metric(m, "train", "psnr_db"))]
    if not models:
        return None
    gaps = {model.name: metric(model, "train", "psnr_db") - metric(model, "test", "psnr_db") for model in models}
    largest, smallest = max(gaps.values()), min(gaps.values())
    each = listing([f"{abs(value) if smallest >= 0 else value:.2f}".replace("-", "−") for value in gaps.values()])
    unit = unit_of(results)
    text = f"With {those(results, models)} the mean PSNR of training {unit}s is {each} dB above that of test {unit}s. "
    if largest < 0.1:
        text += "By this measure there is no sign that the models remember what they were trained on."
    elif largest < 1.0:
        text += f"The gap is small against the spread between {unit}s{_spread(models)}."
    else:
        text += (
            "A gap of this size has two possible causes, which this number cannot tell apart: "
            "the model remembers its training images, or the test images differ in kind from them."
        )
    return Finding(
        section="gap",
        question="How much worse are new images than those of training?",
        text=text,
        numbers={"gap_db": gaps},
    )


def _spread(models: list[ModelResults]) -> str:
    spread = [metric(model, "test", "psnr_sd") for model in models]
    known = [value for value in spread if math.isfinite(value)]
    return f" (standard deviation {max(known):.1f} dB)" if known else ""


def what_is_lost(results: StudyResults) -> Finding | None:
    """What can a code of this size not keep?"""
    models = _measured(results, "psnr_db", "rate_nats")
    if not models:
        return None
    parts, numbers = [], {}
    for model in models:
        pooled = metric(model, "test", "pooled_psnr_db")  # of a root mean square; studies of 0.1.0 have only the mean
        error = 100 * relative_error(pooled if math.isfinite(pooled) else metric(model, "test", "psnr_db"))
        rate = bits(metric(model, "test", "rate_nats"))
        shown = model.reconstructions
        ours, pca = (texture_kept(shown.originals, made) for made in (shown.reconstructions, shown.pca))
        numbers[model.name] = {"rms_error_percent": error, "rate_bits": rate, "texture_kept": ours, "texture_pca": pca}
        texture = f", keeps {_percent(ours)} of the fine texture (PCA {_percent(pca)})" if math.isfinite(ours) else ""
        parts.append(
            f"{plain(model.name)} has a typical error of {error:.1f} % of the grey range{texture} and says "
            f"{number(rate)} bits"
        )
    shape = models[0].reconstructions.originals.shape[1:]
    size = f"{shape[2]} × {shape[1]} px" if len(shape) == 3 else "one image"
    text = (
        f"Per test {unit_of(results)} of {size}, {'; '.join(parts)}. "
        "What does not fit into so few bits is left out, "
        "and first of all what differs from image to image without a pattern: noise, fine texture, "
        "single small structures. "
        "Their absence from a reconstruction or a path says nothing about their absence from the image. "
    )
    if any(math.isfinite(entry["texture_kept"]) for entry in numbers.values()):
        text += "(Fine texture: power above 1/16 cycles per pixel, on the test images shown.)"
    return Finding(
        section="lost", question="What can a latent of this size not keep?", text=text.strip(), numbers=numbers
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def dimensions_in_use(results: StudyResults) -> Finding | None:
    """Are all latent dimensions used?"""
    models = in_order(results)
    if not models:
        return None
    active = {model.name: int(np.sum(model.is_active)) for model in models}
    each = [
        f"{active[model.name]} of {model.latent_dim}{'' if results.is_by_size else f' in {plain(model.name)}'}"
        for model in models
    ]
    text = f"Active latent dimensions: {listing(each)}. "
    idle = [model for model in models if active[model.name] < model.latent_dim]
    if idle:
        names = listing([plain(model.name) for model in idle])
        is_one = sum(model.latent_dim - active[model.name] for model in idle) == 1
        others, it = ("dimension", "it") if is_one else ("dimensions", "they")
        text += (
            f"The other {others} of {names} {'has' if is_one else 'have'} collapsed to the prior: "
            f"what {it} would carry costs more rate than it saves distortion under this objective. "
        )
    else:
        text += "None has collapsed; a larger latent might carry more. "
    forecast = [
        f"{model.forecast_active_dims} for {plain(model.name)}"
        for model in models
        if model.forecast_active_dims is not None
    ]
    if forecast:
        text += (
            f"The PCA spectrum of the training images had forecast {listing(forecast)}, a guide from linear theory, "
            "not a bound."
        )
    return Finding(
        section="dimensions", question="Are all latent dimensions used?", text=text.strip(), numbers={"active": active}
    )


def objective(results: StudyResults) -> Finding | None:
    """What does the objective mean?"""
    if not results.models:
        return None
    kinds = by_likelihood(results.models)
    weights = {model.name: float(model.beta) for model in results.models}
    betas = {model.name: float(model.effective_beta) for model in results.models}
    known = [
        f"{number(value)} times{'' if results.is_by_size else f' in {plain(name)}'}"
        for name, value in betas.items()
        if math.isfinite(value)
    ]
    text = "".join(
        _about_likelihood(kind, "these models" if len(kinds) == 1 else "models that share it") for kind in kinds
    )
    if len(kinds) > 1:
        each = listing([f"{kind} in {listing(names)}" for kind, names in kinds.items()])
        text = f"The models have different likelihoods, {each}: compare PSNR, SSIM and rate between them. {text}"
    text += _bits_per_value(results)
    if known:
        text += (
            "Against a noise level that fits the actual reconstruction errors, the rate is weighted "
            f"{listing(known)} "
            "as strongly as in a calibrated model (effective beta; 1 is calibrated). "
        )
        if min(value for value in betas.values() if math.isfinite(value)) > 3:
            text += "A high weight makes smooth paths and blurred reconstructions, and lets dimensions collapse."
    return Finding(
        section="objective",
        question="What does the objective mean?",
        text=text.strip(),
        numbers={
            "beta": weights if len(set(weights.values())) > 1 else float(results.models[0].beta),
            "effective_beta": betas,
        },
    )


def _bits_per_value(results: StudyResults) -> str:
    """Distortion of whole numbers in bits per pixel value, of the models whose likelihood is one of them."""
    n_values = results.data.channels * results.data.side_px**2
    nats = {model.name: metric(model, "test", "distortion_nats") for model in results.models
            if about_likelihood(model.likelihood).has_bits}  # fmt: skip
    each = [
        f"{bits(value) / n_values:.2f} in {plain(name)}"
        for name, value in nats.items()
        if n_values and math.isfinite(value)
    ]
    return f"On test images the distortion in bits per pixel value is {listing(each)}. " if each else ""


def _about_likelihood(likelihood: str, models: str) -> str:
    """What distortion by a likelihood means for the models that have it."""
    return f"{about_likelihood(likelihood).meaning.replace('these models', models)} "
