"""Every value that a person can set, in one place.

The frozen dataclasses below feed the command line (one flag per field), `study.toml`, the table in the documentation
and the report. A field is made by `option(default, help)`; its flag is its name with hyphens. Ranges are checked in
`__post_init__`, in messages that name the flag. Nothing here reads a file or imports torch.

A study trains the models of `StudyConfig.model_specs`: one per size of `latent_dim`, named z4, z16, ..., or those of
the tables `[[models]]`, each with a name and with whatever options of `[model]` it has of its own.
"""

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zatlas.errors import DataError, UsageError

__all__ = [
    "PRIORS",
    "AtlasConfig",
    "DataConfig",
    "LatentConfig",
    "LayersConfig",
    "ModelConfig",
    "ModelSpec",
    "NamedModel",
    "SplitConfig",
    "StudyConfig",
    "TilesConfig",
    "TrainConfig",
    "difference",
    "from_dict",
    "from_toml",
    "own_options",
    "read_study_config",
    "to_dict",
    "to_toml",
    "with_input_paths",
]


def option(default: Any, help_text: str, *, unit: str = "") -> Any:
    """A configuration field: its default, the sentence of help shown by `--help`, its unit."""
    metadata = {"help": help_text, "unit": unit}
    return dataclasses.field(default=default, metadata=metadata)


def _require(is_valid: bool, flag: str, found: object, expected: str) -> None:
    if not is_valid:
        raise UsageError(f"--{flag} is {found}, expected {expected}", hint=f"set --{flag} to {expected}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images are and what is known about them."""

    input: str = option("", "NPZ, NPY or HDF5 file, or a folder of PNG, JPEG or TIFF images")
    key: str = option("", "which array of an NPZ or HDF5 file holds the images (default: found by itself)")
    labels: str = option("", "CSV table with one row per image, joined by index, name or path")
    group: str = option("", "column of the labels table that names the group (patient, brain) of each image")
    max_rejected: float = option(0.01, "share of damaged files above which the run stops")
    min_size: int = option(0, "leave out images with a side shorter than this", unit="px")

    def __post_init__(self) -> None:
        _require(0 <= self.max_rejected <= 1, "max-rejected", self.max_rejected, "a share from 0 to 1")
        _require(self.min_size >= 0, "min-size", self.min_size, "0 or more pixels")


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which images train the model, which choose its best epoch, and which only judge it."""

    test_group: tuple[str, ...] = option((), "groups held out for testing (names, one or more)")
    test_fraction: float = option(0.2, "share of groups (or of images, without groups) held out for testing")
    validation_fraction: float = option(0.1, "share of the training groups or images kept for choosing the epoch")

    def __post_init__(self) -> None:
        _require(0 <= self.test_fraction < 1, "test-fraction", self.test_fraction, "a share from 0 up to 1")
        _require(0 < self.validation_fraction < 1, "validation-fraction", self.validation_fraction, "between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class TilesConfig:
    """What the model sees: whole images or tiles of them, and on which scale of grey."""

    tile: int = option(0, "side of the tiles; 0 takes whole images", unit="px")
    size: int = option(
        0,
        "side to which whole images are resized; 0 keeps images that are square, alike and at most 128 px, "
        "and resizes others to 128",
        unit="px",
    )
    sampler: str = option("", "whole | by_pixel | equal (default: whole without --tile, by_pixel with it)")
    scaling: str = option("minmax", "minmax (to 0..1) | standardise (mean 0, deviation 1), fitted on training pixels")
    augment: str = option("auto", "flips and right-angle turns: on | off | auto (on for tiles, off for whole images)")
    tiles_per_epoch: int = option(0, "tiles drawn per epoch; 0 draws as many as cover every pixel once")

    def __post_init__(self) -> None:
        _require(self.tile == 0 or self.tile >= 8, "tile", self.tile, "0 (whole images) or at least 8 pixels")
        _require(self.size == 0 or self.size >= 8, "size", self.size, "0 (automatic) or at least 8 pixels")
        samplers = ("", "whole", "by_pixel", "equal")
        _require(self.sampler in samplers, "sampler", self.sampler, "whole, by_pixel or equal")
        _require(self.scaling in ("minmax", "standardise"), "scaling", self.scaling, "minmax or standardise")
        _require(self.augment in ("auto", "on", "off"), "augment", self.augment, "auto, on or off")
        _require(self.tiles_per_epoch >= 0, "tiles-per-epoch", self.tiles_per_epoch, "0 or more tiles")
        needs_tiles = self.sampler in ("by_pixel", "equal")
        _require(
            not (needs_tiles and self.tile == 0),
            "tile",
            self.tile,
            f"a tile size, which --sampler {self.sampler} needs",
        )
        _require(not (self.sampler == "whole" and self.tile > 0), "tile", self.tile, "0, because --sampler is whole")

    @property
    def side_px(self) -> int:
        """Side of what the model sees; 0 while it still depends on the images [px]."""
        return self.tile or self.size

    @property
    def sampler_name(self) -> str:
        """The sampler in force: as set, else whole without tiles and by_pixel with them."""
        return self.sampler or ("by_pixel" if self.tile else "whole")

    @property
    def is_augmented(self) -> bool:
        """Whether training tiles are flipped and turned."""
        return self.augment == "on" or (self.augment == "auto" and self.tile > 0)


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """How large the latents are."""

    latent_dim: tuple[int, ...] = option((16,), "latent sizes; each trains a model of its own")

    def __post_init__(self) -> None:
        latents_ok = len(self.latent_dim) > 0 and all(1 <= d <= 4096 for d in self.latent_dim)
        _require(latents_ok, "latent-dim", self.latent_dim, "one or more sizes from 1 to 4096")
        _require(len(set(self.latent_dim)) == len(self.latent_dim), "latent-dim", self.latent_dim, "different sizes")


PRIORS = ("standard", "mixture", "flow", "vamp")
"""Names of the priors, N(0, I) first; what they are stands in model/priors.py, their words in model/prior_words.py."""


@dataclass(frozen=True, kw_only=True)
class LayersConfig:
    """What a network is built of, whatever its latent size and its images."""

    widths: tuple[int, ...] = option(
        (), "channels of the stages, each of which halves the image (default: by its size, 24 48 96 192 256 at 128 px)"
    )
    blocks: int = option(0, "residual blocks after each stage")
    norm: str = option("none", "none | group (GroupNorm)")
    decoder: str = option(
        "upsample", "upsample (faster, no checkerboard) | transposed (strided transposed convolutions)"
    )
    linear_path: str = option(
        "auto",
        "principal components beside the convolutions, from which training begins: on | off | auto (on for tiles, and "
        "in trainings of up to 1000 steps)",
    )
    covariate: str = option(
        "", "column that the decoder is told and z is kept free of, such as group: latents lose what brains differ in"
    )
    covariate_weight: float = option(0.2, "how strongly z is kept free of it, for each value of an image")
    consistency: float = option(0.0, "how strongly z is kept still where a tile is shifted; 0 not at all", unit="nats")
    texture: str = option(
        "off",
        "off | local (latents of places beside z; samples and paths then draw their textures) | matched (the same, and "
        "draws have the statistics of images)",
    )
    likelihood: str = option(
        "gaussian",
        "gaussian (one shared optimal variance) | gaussian_per_channel | gaussian_per_pixel | student_t (few large "
        "errors) | bernoulli (binary cross-entropy) | continuous_bernoulli | discretised_logistic (whole greys, bits) "
        "| poisson (counts)",
    )
    prior: str = option(
        PRIORS[0],
        f"{PRIORS[0]} (N(0, I)) | {' | '.join(PRIORS[1:])}: what latents cost against; "
        "the others are trained with the model",
    )

    def __post_init__(self) -> None:
        widths_ok = len(self.widths) <= 8 and all(1 <= w <= 4096 for w in self.widths)
        _require(widths_ok, "widths", self.widths, "1 to 8 channel numbers from 1 to 4096")
        _require(0 <= self.blocks <= 8, "blocks", self.blocks, "0 to 8")
        _require(self.norm in ("none", "group"), "norm", self.norm, "none or group")
        _require(self.decoder in ("transposed", "upsample"), "decoder", self.decoder, "transposed or upsample")
        _require(self.linear_path in ("auto", "on", "off"), "linear-path", self.linear_path, "auto, on or off")
        _require(self.texture in ("off", "local", "matched"), "texture", self.texture, "off, local or matched")
        _require(self.consistency >= 0, "consistency", self.consistency, "0 or more nats")
        _require(self.covariate_weight >= 0, "covariate-weight", self.covariate_weight, "0 or more")
        if self.covariate:
            _require(self.texture == "off", "texture", self.texture, "off, beside --covariate")
            _require(self.linear_path != "on", "linear-path", self.linear_path, "auto or off, beside --covariate")
        _require(self.prior in PRIORS, "prior", self.prior, f"{', '.join(PRIORS[:-1])} or {PRIORS[-1]}")
        # The name of the likelihood is not checked here: it may be one that lives outside zatlas.


@dataclass(frozen=True, kw_only=True)
class ModelConfig(LayersConfig, LatentConfig):
    """The variational autoencoder: its shape and its objective."""

    beta: float = option(1.0, "weight of the rate (KL) in the objective")

    def __post_init__(self) -> None:
        LatentConfig.__post_init__(self)
        LayersConfig.__post_init__(self)
        _require(self.beta >= 0, "beta", self.beta, "0 or more")


@dataclass(frozen=True, init=False)
class NamedModel:
    """A model of a study with a name; what it leaves out comes from the study's `model` and `seed`.

    Args:
        name: Of its files, figures and of `--model`.
        own: Options of `ModelConfig`, `latent_dim` as one number, and `seed`.

    Raises:
        UsageError: the name cannot be used, or an option is unknown or out of range.
        DataError: a value is of the wrong type.

    Example:
        >>> NamedModel("beta4", beta=4).own
        {'beta': 4.0}
    """

    name: str
    _own: tuple[tuple[str, Any], ...]

    def __init__(self, name: str, /, **own: Any) -> None:
        _check_name(name)
        hints = own_options()
        _refuse_unknown(own, hints, f"[[models]] {name}")
        values = {key: _convert(hints[key], own[key], key, f"[[models]] {name}") for key in hints if key in own}
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_own", tuple(values.items()))
        self.spec(ModelConfig(), 0)

    @property
    def own(self) -> dict[str, Any]:
        """The options that are its own, by name."""
        return dict(self._own)

    def spec(self, model: ModelConfig, seed: int) -> "ModelSpec":
        """The model in full: its own options on top of `model` and `seed`."""
        own = self.own
        seed = own.pop("seed", seed)
        if "latent_dim" in own:
            own["latent_dim"] = (own["latent_dim"],)
        try:
            _require(0 <= seed < 2**63, "seed", seed, "a whole number from 0")
            return ModelSpec(name=self.name, config=dataclasses.replace(model, **own), seed=seed)
        except UsageError as err:
            raise UsageError(err.what, where=f"[[models]] {self.name}", hint=err.hint) from err


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model that a study trains, in full.

    Attributes:
        name: Of its files, figures and of `--model`.
        config: Its options; `latent_dim` is one number.
        seed: Of its initial weights and of its training.
    """

    name: str
    config: ModelConfig
    seed: int

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions d."""
        return self.config.latent_dim[0]


def own_options() -> dict[str, Any]:
    """The options that a table of `[[models]]` may hold beside its name, with their types."""
    return {**typing.get_type_hints(ModelConfig), "latent_dim": int, "seed": int}


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_MOST_LETTERS = 24  # as many as tables and figures show of a name
_TAKEN = ("study", "columns", "names.json", "manifest.json", "originals", "thumbnails")  # by results/ and explorer/


def _check_name(name: str) -> None:
    """That a name can be a folder on any computer, a word of a command line and part of a web address."""
    if not isinstance(name, str):
        raise DataError(f"name is {name!r}, expected str", hint=f'put it in quotes: name = "{name}"')
    if not name:
        raise UsageError("a table of [[models]] has no name", hint='begin each with a line such as name = "beta4"')
    if len(name) > _MOST_LETTERS:
        raise UsageError(
            f"the model name {name[:_MOST_LETTERS]}... has {len(name)} letters, expected at most {_MOST_LETTERS}",
            hint="shorten it; the options of a model stand in study.toml and in the report",
        )
    if not _NAME.fullmatch(name):
        hint = "use letters, digits, - _ and . only, a letter or digit first and no . last, such as beta4 or z16-bce"
        raise UsageError(f"{name!r} cannot be the name of a model", hint=hint)
    if name.lower() in _TAKEN:
        what = f"a model cannot be named {name}, because zatlas keeps files of its own there"
        raise UsageError(what, hint="choose another name")


def _check_names(names: Sequence[str]) -> None:
    """That no two names are the same folder where upper and lower case are one, nor the same files of figures."""
    seen: dict[str, str] = {}
    for name in names:
        key = re.sub(r"[._-]+", "-", name.lower())
        if key in seen:
            both = name if seen[key] == name else f"{seen[key]} and {name}, which differ only in case or in signs"
            raise UsageError(f"two models are named {both}", hint=f"rename one of them, such as {name}-2")
        seen[key] = name


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the model is trained."""

    epochs: int = option(100, "passes over the training split")
    patience: int = option(
        25, "epochs without a gain on validation after which training ends early; 0 never; more of it goes on"
    )
    batch_size: int = option(16, "images per step")
    learning_rate: float = option(1e-3, "peak learning rate of Adam; falls along a cosine to a hundredth of it")
    optimizer: str = option(
        "muon", "muon (inner convolutions move along orthogonal matrices; the rest by Adam) | adam (Adam alone)"
    )
    ema_decay: float = option(
        0.998, "share that the running mean of the weights keeps at each step, at most; 0 keeps the weights themselves"
    )
    weight_decay: float = option(
        0.1, "decoupled weight decay, of inner convolutions with muon, of all parameters with adam"
    )
    warmup_epochs: float = option(
        1.0, "epochs over which the learning rate rises linearly from 0; at most an eighth of all epochs"
    )
    kl_warmup_epochs: float = option(
        5.0, "epochs over which the weight of the rate rises linearly from 0 to beta; at most a quarter of all epochs"
    )
    clip_norm: float = option(0.0, "largest norm of the gradient, relative to its running median; 0 does not clip")
    jitter: float = option(
        0.06,
        "largest random shift and zoom of training images, as a share of their side, with bends of a sixth of it; "
        "tiles, cut anywhere, have none",
    )
    checkpoint_minutes: float = option(1.0, "longest time between two checkpoints", unit="min")
    device: str = option("auto", "auto | cpu | cuda (auto: cpu; cuda has not been measured yet)")
    threads: int = option(0, "processor threads; 0 tries how many are fastest; without effect on results")
    precision: str = option(
        "auto", "auto | float32 | bfloat16 (auto: bfloat16 where the processor computes in it, faster and as exactly)"
    )
    deterministic: bool = option(
        False, "choose the number format without timing it, so that a busy machine decides nothing"
    )

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        _require(self.patience >= 0, "patience", self.patience, "0 or more epochs")
        _require(self.batch_size >= 1, "batch-size", self.batch_size, "1 or more")
        _require(0 < self.learning_rate < 1, "learning-rate", self.learning_rate, "between 0 and 1")
        _require(self.optimizer in ("muon", "adam"), "optimizer", self.optimizer, "muon or adam")
        _require(0 <= self.ema_decay < 1, "ema-decay", self.ema_decay, "a share from 0 to below 1")
        _require(self.weight_decay >= 0, "weight-decay", self.weight_decay, "0 or more")
        _require(self.warmup_epochs >= 0, "warmup-epochs", self.warmup_epochs, "0 or more epochs")
        _require(self.kl_warmup_epochs >= 0, "kl-warmup-epochs", self.kl_warmup_epochs, "0 or more epochs")
        _require(self.clip_norm >= 0, "clip-norm", self.clip_norm, "0 or more")
        _require(0 <= self.jitter <= 0.5, "jitter", self.jitter, "a share from 0 to 0.5")
        _require(self.checkpoint_minutes > 0, "checkpoint-minutes", self.checkpoint_minutes, "more than 0 minutes")
        _require(self.device in ("auto", "cpu", "cuda"), "device", self.device, "auto, cpu or cuda")
        _require(self.threads >= 0, "threads", self.threads, "0 or more")
        precisions = ("auto", "float32", "bfloat16")
        _require(self.precision in precisions, "precision", self.precision, "auto, float32 or bfloat16")

    @property
    def warmup(self) -> float:
        """Warm-up of the learning rate in force, at most an eighth of all epochs [epochs]."""
        return min(self.warmup_epochs, self.epochs / 8)

    @property
    def kl_warmup(self) -> float:
        """Warm-up of the weight of the rate in force: a quarter of all epochs at most, so that also a short training
        has most of its steps at the full weight [epochs]."""
        return min(self.kl_warmup_epochs, self.epochs / 4)


@dataclass(frozen=True, kw_only=True)
class AtlasConfig:
    """What is made of the latents."""

    atlas_size: int = option(5000, "images or tiles in the atlas; 0 takes all")
    stride: int = option(0, "distance between the tiles of the atlas; 0 takes the tile size", unit="px")
    clusters: int = option(0, "number of k-means clusters; 0 chooses it by stability")
    perplexity: float = option(
        0.0, "perplexity of t-SNE; 0 takes 30, or a third of the images when they are fewer than 91"
    )
    points: int = option(7, "interior points of each path")
    examples: int = option(10, "test images shown against their reconstructions")
    samples: int = option(24, "images sampled from the fitted density and from the prior")

    def __post_init__(self) -> None:
        _require(self.atlas_size == 0 or self.atlas_size >= 20, "atlas-size", self.atlas_size, "0 (all) or at least 20")
        _require(self.stride >= 0, "stride", self.stride, "0 (tile size) or more pixels")
        _require(
            self.clusters == 0 or 2 <= self.clusters <= 100,
            "clusters",
            self.clusters,
            "0 (automatic) or 2 to 100",
        )
        _require(
            self.perplexity == 0 or self.perplexity >= 2,
            "perplexity",
            self.perplexity,
            "0 (automatic) or at least 2",
        )
        _require(1 <= self.points <= 50, "points", self.points, "1 to 50")
        _require(1 <= self.examples <= 50, "examples", self.examples, "1 to 50")
        _require(4 <= self.samples <= 200, "samples", self.samples, "4 to 200")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study: one collection, one split, one or more models. Mirrors study.toml."""

    seed: int = option(0, "the one seed from which every random draw derives")
    title: str = option("", "title of the report (default: the name of the data)")
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    tiles: TilesConfig = TilesConfig()
    model: ModelConfig = ModelConfig()
    models: tuple[NamedModel, ...] = option(
        (), "models that differ in more than their latent size; without it, one per size of latent_dim"
    )
    train: TrainConfig = TrainConfig()
    atlas: AtlasConfig = AtlasConfig()

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0")
        _check_names([model.name for model in self.models])
        if self.models and len(self.model.latent_dim) > 1:
            raise UsageError(
                f"--latent-dim is {self.model.latent_dim} beside [[models]], expected one size",
                hint="keep one size in [model] and give the others in the tables of [[models]]",
            )

    @property
    def model_specs(self) -> tuple[ModelSpec, ...]:
        """The models that the study trains, in order: those of `models`, or z4, z16, ... by latent size."""
        if self.models:
            return tuple(model.spec(self.model, self.seed) for model in self.models)
        by_size = (dataclasses.replace(self.model, latent_dim=(d,)) for d in self.model.latent_dim)
        return tuple(ModelSpec(name=f"z{c.latent_dim[0]}", config=c, seed=self.seed) for c in by_size)

    def for_model(self, spec: ModelSpec) -> "StudyConfig":
        """The configuration with one model alone, without a name; the seed stays that of the study."""
        return dataclasses.replace(self, model=spec.config, models=())


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as nested plain dictionaries, tuples as lists; `models` only where there are any."""
    if isinstance(config, NamedModel):
        return {"name": config.name, **{key: _plain(value) for key, value in config.own.items()}}
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: _plain(value) for name, value in values.items() if name != "models" or value}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def to_toml(config: Any) -> str:
    """The configuration as TOML, every value written out, defaults too; `[[models]]` as they were given, at the end."""
    import tomli_w

    values = to_dict(config)
    models = values.pop("models", [])
    return tomli_w.dumps(values) + "".join(f"\n[[models]]\n{tomli_w.dumps(model)}" for model in models)


def from_toml(path: Path, kind: type = StudyConfig) -> Any:
    """Read a configuration of `kind` from a TOML file.

    Raises:
        DataError: the file is not TOML or holds a value of the wrong type.
        UsageError: it names an unknown option, or a value is out of range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise DataError(
            f"{path.name} is not valid TOML: {err}", hint="compare it with examples/chest_xrays.toml"
        ) from err
    values.pop("schema_version", None)
    return from_dict(kind, values, where=path.name)


def read_study_config(path: Path) -> StudyConfig:
    """A study's configuration from a TOML file from which its relative input paths count."""
    config: StudyConfig = from_toml(path)
    return with_input_paths(config, lambda name: str(path.parent / name))


def with_input_paths(config: StudyConfig, change: Callable[[str], str]) -> StudyConfig:
    """The configuration with `change` applied to the paths of its images and labels, where there are any."""
    data = config.data
    images, labels = (change(path) if path else "" for path in (data.input, data.labels))
    return dataclasses.replace(config, data=dataclasses.replace(data, input=images, labels=labels))


def from_dict(kind: type, values: dict[str, Any], *, where: str = "") -> Any:
    """Build a configuration of `kind` from nested dictionaries; types are checked, unknown names refused."""
    hints = typing.get_type_hints(kind)
    _refuse_unknown(values, hints, where)
    return kind(**{name: _convert(hints[name], value, name, where) for name, value in values.items()})


def _refuse_unknown(values: dict[str, Any], known: dict[str, Any], where: str) -> None:
    for name in sorted(set(values) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"unknown option {name!r}", where=where, hint=f"{meant}known here: {', '.join(sorted(known))}")


def _named_model(values: dict[str, Any], where: str) -> NamedModel:
    """A table of [[models]]; its errors tell the file too."""
    own = {key: value for key, value in values.items() if key != "name"}
    try:
        return NamedModel(values.get("name", ""), **own)
    except (UsageError, DataError) as err:
        place = " ".join(part for part in (where, err.where or "[[models]]") if part)
        raise type(err)(err.what, where=place, hint=err.hint) from err


def _convert(hint: Any, value: Any, name: str, where: str) -> Any:
    if hint is NamedModel and isinstance(value, dict):
        return _named_model(value, where)
    if hint == tuple[NamedModel, ...] and isinstance(value, dict):
        raise DataError("[models] is a single table", where=where, hint="write [[models]] before each model")
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_dict(typing.cast(type, hint), value, where=f"{where} [{name}]")
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, entry, name, where) for entry in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    expected = getattr(hint, "__name__", str(hint)) if not isinstance(hint, types.GenericAlias) else f"a list, {hint}"
    raise DataError(f"{name} is {value!r}, expected {expected}", where=where, hint=f"correct {name}")


def difference(old: Any, new: Any, *, prefix: str = "") -> list[str]:
    """The options in which two configurations differ, one line each: `train.epochs: 100 -> 50`."""
    lines = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if field.name == "models":
            lines += _difference_of_models(old, new)
        elif dataclasses.is_dataclass(before):
            lines += difference(before, after, prefix=f"{prefix}{field.name}.")
        elif before != after:
            lines.append(f"{prefix}{field.name}: {_plain(before)} -> {_plain(after)}")
    return lines


def _difference_of_models(old: StudyConfig, new: StudyConfig) -> list[str]:
    """What differs between named models, in force; not what follows from a line about the study's own options."""
    if not (old.models or new.models):
        return []
    names = [", ".join(spec.name for spec in config.model_specs) for config in (old, new)]
    lines = [f"models: {names[0]} -> {names[1]}"] if names[0] != names[1] else []
    follows = {f"seed: {old.seed} -> {new.seed}", *difference(old.model, new.model)}
    after = {spec.name: spec for spec in new.model_specs}
    for spec in old.model_specs:
        other = after.get(spec.name, spec)
        changes = difference(spec.config, other.config)
        changes += [f"seed: {spec.seed} -> {other.seed}"] if spec.seed != other.seed else []
        lines += [f"models.{spec.name}.{change}" for change in changes if change not in follows]
    return lines
