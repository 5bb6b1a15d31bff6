"""How the models were trained, in sentences from which a methods paragraph can be written, with the numbers in force.

What was left to zatlas (`auto`, 0, warm-ups bounded by the length of a training) stands here as it was decided. It
comes from the record of each training, which the study keeps; without one only what was asked for is told.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

from zatlas.config import TrainConfig
from zatlas.report.figures.style import count, plain
from zatlas.report.findings.words import listing, unit_of
from zatlas.results.kinds import ModelResults, StudyResults

__all__ = ["Trained", "in_force", "trained", "training_texts"]

MUON_RATE = 10  # times the learning rate of Adam
MUON_MOMENTUM = 0.95
ADAM_BETAS = (0.9, 0.999)
NORMS_KEPT = 100  # steps over which the median norm of gradients is taken

# What a training meant that was recorded before these options were there.
_OF_0_1_0 = {"optimizer": "adam", "ema_decay": 0.0, "patience": 0}


class Trained(NamedTuple):
    """What is known of the training of one model.

    Attributes:
        name: Of the model.
        config: How it was trained; of the study where there is no record.
        network: Of the network: widths, blocks, norm, decoder, linear_path, or `own` for one made elsewhere.
        facts: The record of the training: best_epoch, epochs, stopped, steps, settings, choices, ...; {} without one.
        has_bounds: Whether warm-ups were bounded to a share of all epochs; in 0.1.0 they were not.
    """

    name: str
    config: TrainConfig
    network: dict[str, Any]
    facts: dict[str, Any]
    has_bounds: bool = True

    @property
    def warmup(self) -> float:
        """Over which the learning rate rose [epochs]."""
        return self.config.warmup if self.has_bounds else self.config.warmup_epochs

    @property
    def kl_warmup(self) -> float:
        """Over which the weight of the rate rose [epochs]."""
        return self.config.kl_warmup if self.has_bounds else self.config.kl_warmup_epochs

    @property
    def kept_epoch(self) -> int | None:
        """Whose weights are kept; 0: those that training began with."""
        found = self.facts.get("best_epoch")
        return None if found is None else int(found)

    @property
    def has_muon(self) -> bool:
        """Whether any weights were moved by Muon: those between two feature maps of the network of zatlas."""
        has_inner = len(self.network.get("widths", ())) > 1 or self.network.get("blocks", 0) > 0
        return self.config.optimizer == "muon" and has_inner and "own" not in self.network


def trained(results: StudyResults) -> list[Trained]:
    """The trainings of a study, in the order of its models."""
    records = results.provenance.get("training") or {}
    return [_one(results, model, dict(records.get(model.name) or {})) for model in results.models]


def _one(results: StudyResults, model: ModelResults, facts: dict[str, Any]) -> Trained:
    settings, asked = facts.get("settings") or {}, dict(results.config.get("train") or {})
    recorded = dict(settings.get("train") or {})
    is_old = bool(recorded) and "optimizer" not in recorded
    if recorded:  # it leaves out what has no effect on the result, such as patience
        asked = {**asked, **_OF_0_1_0, **({} if is_old else {"patience": asked.get("patience", 0)}), **recorded}
    own: dict[str, Any] = next((table for table in results.config.get("models", []) if table["name"] == model.name), {})
    network = settings.get("network") or {**(results.config.get("model") or {}), **own}
    known = {field.name for field in fields(TrainConfig)}
    config = TrainConfig(**{name: value for name, value in asked.items() if name in known})
    return Trained(model.name, config, dict(network), facts, not is_old)


def training_texts(results: StudyResults) -> list[str]:
    """Paragraphs on the networks and on how they were trained; each sentence once for all models of which it holds."""
    found = trained(results)
    options: list[Callable[[Trained], str]] = [partial(_where_set, *asked) for asked in _WHERE_SET]
    network = (_encoder, _decoder, *options, _covariate, _consistency)
    moved = (_optimizer, _learning_rate, _kl_weight, _clipping, _average)
    paragraphs = [
        [*_told(found, network), _parameters(results)],
        [_images_seen(results, found), *_told(found, moved)],
        [*_told(found, (_stopping,)), *_epochs_kept(found), *_told(found, (_computing,))],
    ]
    return [text for sentences in paragraphs if (text := " ".join(s for s in sentences if s))]


def _told(found: list[Trained], makers: tuple[Callable[[Trained], str], ...]) -> list[str]:
    """Sentences; with the names of the models where they differ."""
    sentences = []
    for make in makers:
        by_text: dict[str, list[str]] = {}
        for one in found:
            by_text.setdefault(make(one), []).append(plain(one.name))
        for text, names in by_text.items():
            if text:
                sentences.append(text if len(by_text) == 1 else f"{text[:-1]} ({listing(names)}).")
    return sentences


# ---- the network


def _encoder(one: Trained) -> str:
    if "own" in one.network:
        return f"The network is {plain(one.network['own'], 60)}, a module that was given to zatlas."
    widths = one.network.get("widths")
    if not widths:
        return ""
    blocks = int(one.network.get("blocks", 0))
    extra = f", each followed by {count(blocks, 'residual block')}" if blocks else ""
    norm = ", GroupNorm" if one.network.get("norm") == "group" else ""
    return (
        f"The encoder has {count(len(widths), 'convolution')} of kernel 3 and stride 2 with "
        f"{listing([str(width) for width in widths])} channels{norm} and ReLU{extra}, then one linear layer to mean "
        "and log-variance of the posterior."
    )


def _decoder(one: Trained) -> str:
    kinds = {
        "upsample": "with convolutions of kernel 3 and nearest-neighbour upsampling",
        "transposed": "with transposed convolutions of kernel 3",
    }
    made = kinds.get(str(one.network.get("decoder")))
    if "own" in one.network or not made or not one.network.get("widths"):
        return ""
    return f"The decoder is its mirror image, {made}."


_LOCAL = (
    "Between encoder and decoder lie maps of local latents, whose priors are given by z and by the maps before them; "
    "the rate is that of z and of all maps, and z alone had to tell the layout of an image and the energies of its "
    "details in training. Reconstructions take the posterior means of all of them; all other pictures draw local "
    "latents from their priors, samples each with a noise of its own, paths with one that is kept."
)
_WHERE_SET = {
    ("linear_path", "on"): "Beside the convolutions lies a fixed linear path: as many principal components of the "
    "training images as there are latent dimensions, to whose scores the encoder adds and to whose reconstruction the "
    "decoder adds; training began with convolutions that add nothing.",
    ("texture", "local"): _LOCAL,
    ("texture", "matched"): f"{_LOCAL} In the last part of the training an energy score between statistics of an image "
    "and of draws from its z was part of the loss.",
}


def _where_set(option: str, value: str, one: Trained) -> str:
    return _WHERE_SET[option, value] if one.network.get(option) == value else ""


def _covariate(one: Trained) -> str:
    column, values = one.network.get("covariate"), one.network.get("covariate_values")
    if not column or not values:
        return ""
    weight = float(one.network.get("covariate_weight", 0))
    return (
        f"The decoder is told the {plain(column)} of each image, by a scale and a shift for each of its channels, and "
        f"training kept z alike between the {len(values)} values of the training images by their energy distance "
        f"(weight {weight:g} for each value of an image); reconstructions are told that of their image, all other "
        "pictures, and images of no such value, the mean of all."
    )


def _consistency(one: Trained) -> str:
    weight = float(one.network.get("consistency", 0))
    return (
        f"Training kept z still where an image is shifted by up to a quarter of its side (weight {weight:g} nats)."
        if weight
        else ""
    )


def _parameters(results: StudyResults) -> str:
    each = [f"{model.n_parameters:,} ({plain(model.name)})".replace(",", "\u202f") for model in results.models]
    return f"Trained parameters: {listing(each)}."


# ---- the steps


def _images_seen(results: StudyResults, found: list[Trained]) -> str:
    data, tiles = results.data, results.config.get("tiles") or {}
    unit = unit_of(results)
    how = {
        "by_pixel": "cut from anywhere in the training images so that every pixel is seen equally often",
        "equal": "cut from a group, an image of it and a place in that, each drawn with equal probability",
    }.get(data.sampler, "all training images in random order")
    varied = []
    if tiles.get("augment") == "on":
        varied.append("flipped and turned by right angles at random")
    jitter = max(one.config.jitter for one in found)
    settings: dict[str, Any] = next((one.facts["settings"] for one in found if one.facts.get("settings")), {})
    if jitter and not data.is_tiled:
        moved = "shifted, zoomed and smoothly bent" if settings.get("bends") else "shifted and zoomed"
        varied.append(f"{moved} at random by up to {100 * jitter:g} % of their side")
    length = f"{count(int(settings['epoch_images']), unit)}, " if settings.get("epoch_images") else ""
    sizes = listing([str(size) for size in dict.fromkeys(one.config.batch_size for one in found)])
    return f"An epoch was {length}{how}{''.join(f', {words}' for words in varied)}; a step took a batch of {sizes}."


def _optimizer(one: Trained) -> str:
    decay = one.config.weight_decay
    decayed = f"decoupled weight decay {decay:g}" if decay else "no weight decay"
    adam = f"Adam (beta {ADAM_BETAS[0]:g} and {ADAM_BETAS[1]:g}"
    if not one.has_muon:
        return f"All parameters were moved by {adam}, {decayed})."
    return (
        f"The weights of the inner convolutions were moved by Muon (momentum {MUON_MOMENTUM:g}, {MUON_RATE} times the "
        f"learning rate of Adam, {decayed}), all other parameters by {adam}, no weight decay)."
    )


def _learning_rate(one: Trained) -> str:
    peak, warmup = f"{one.config.learning_rate:g}", one.warmup
    rise = f"rose linearly to {peak} over the first {_epochs(warmup)}" if warmup else f"began at {peak}"
    halved = int(one.facts.get("rollbacks") or 0)
    late = f"; it was halved {count(halved, 'time')}, after a loss that was not a finite number" if halved else ""
    return (
        f"The learning rate of Adam {rise} and fell along a cosine towards a hundredth of that at epoch "
        f"{one.config.epochs}{late}."
    )


def _kl_weight(one: Trained) -> str:
    warmup, done = one.kl_warmup, int(one.facts.get("epochs", one.config.epochs))
    if not warmup:
        return "The rate had its full weight, beta, from the first step."
    if done < warmup:
        return (
            f"The weight of the rate was to rise linearly from 0 to beta over {_epochs(warmup)}, and reached "
            f"{100 * done / warmup:.0f} % of it."
        )
    return f"The weight of the rate rose linearly from 0 to beta over the first {_epochs(warmup)}."


def _epochs(value: float) -> str:
    return "epoch" if value == 1 else f"{value:g} epochs"


def _clipping(one: Trained) -> str:
    longest = one.config.clip_norm
    if not longest:
        return ""
    return f"Gradients were shortened to {longest:g} times the median length of the last {NORMS_KEPT} steps."


def _average(one: Trained) -> str:
    decay = one.config.ema_decay
    if not decay:
        return ""
    return (
        f"What was judged and kept is the exponential moving average of the weights (decay {decay:g} per step, less in "
        "the first steps), not the weights themselves."
    )


# ---- the end


def _stopping(one: Trained) -> str:
    epochs, patience = one.config.epochs, one.config.patience
    rule = f"Training was set to {count(epochs, 'epoch')}"
    if 0 < patience < epochs:
        rule += f", or to end when {patience} in a row brought no gain on the validation split"
    kept = "the weights kept are those of the epoch with the lowest distortion + beta × rate on the validation split"
    if one.facts.get("start_db"):
        kept += (
            ", of those epochs that give its images back as well as the PCA with which training began "
            "(mean PSNR, and PSNR of the pooled error)"
        )
    return f"{rule}; {kept}."


def _epochs_kept(found: list[Trained]) -> list[str]:
    known = [one for one in found if one.kept_epoch is not None]
    done = [
        f"{plain(one.name)} ran {count(int(one.facts['epochs']), 'epoch')}"
        f"{' (stopped: no gain)' if one.facts.get('stopped') else ''} and keeps "
        f"{f'epoch {one.kept_epoch}' if one.kept_epoch else 'its start, epoch 0'}"
        for one in known
        if "epochs" in one.facts
    ]
    texts = [f"{'; '.join(done)}."] if done else []
    began = [plain(one.name) for one in known if one.kept_epoch == 0]
    if began:
        texts.append(
            f"No epoch of {listing(began)} was better on validation images than PCA, with which training began."
        )
    return texts


def _computing(one: Trained) -> str:
    choices = one.facts.get("choices") or {}
    words = [str(choices[name].get("value")) for name in ("precision", "device") if isinstance(choices.get(name), dict)]
    if len(words) < 2:
        return ""
    return f"Training computed in {words[0]} on {'a processor' if words[1] == 'cpu' else f'a device ({words[1]})'}."


# ---- settings


def in_force(results: StudyResults) -> dict[str, str]:
    """What settings became that were left to zatlas, or that a short training bounds, by their name `section.key`."""
    found = trained(results)
    told = {
        "model.widths": {one.name: " ".join(map(str, one.network.get("widths") or ())) for one in found},
        "model.linear_path": {one.name: str(one.network.get("linear_path", "")) for one in found if one.facts},
        "train.warmup_epochs": {one.name: f"{one.warmup:g}" for one in found},
        "train.kl_warmup_epochs": {one.name: f"{one.kl_warmup:g}" for one in found},
        "atlas.clusters": {model.name: str(model.cluster_info.get("k") or "") for model in results.models},
        "atlas.perplexity": {
            model.name: f"{value:g}"
            for model in results.models
            for value in [one.settings["perplexity"] for one in model.maps if "perplexity" in one.settings][:1]
        },
    }  # fmt: skip
    for name in ("device", "precision", "threads"):
        values = {one.name: (one.facts.get("choices") or {}).get(name) for one in found}
        told[f"train.{name}"] = {key: str(one["value"]) for key, one in values.items() if isinstance(one, dict)}
    images = {one.name: (one.facts.get("settings") or {}).get("epoch_images") for one in found}
    told["tiles.tiles_per_epoch"] = {key: str(n) for key, n in images.items() if n}
    return {setting: words for setting, values in told.items() if (words := _by_model(values, len(found)))}


def _by_model(values: dict[str, str], n_models: int) -> str:
    """`on`, or `on (z4), off (z16)`; "" where nothing is known of some."""
    if len(values) < n_models or not all(values.values()):
        return ""
    by_value: dict[str, list[str]] = {}
    for name, value in values.items():
        by_value.setdefault(value, []).append(plain(name))
    if len(by_value) == 1:
        return next(iter(by_value))
    return ", ".join(f"{value} ({listing(names)})" for value, names in by_value.items())
