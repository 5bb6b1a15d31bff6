"""The estimator that users hold: fit, embed, decode, reconstruct, sample, save, load.

Thin on purpose. The network is `zatlas.model.network`, the loop `zatlas.training.fit`, the latents
`zatlas.atlas.encode`; this class keeps them together with the grey scale, so that images go in and come out in the
pixel units of the collection.

    images = za.open_images("cell_data.h5")
    train, test = images.split(test_groups=["B20"])
    vae = za.VAE(latent_dim=16).fit(za.Tiles(train, size=128), epochs=100, run="runs/z16")
    atlas = vae.embed(images, stride=64)

A network or a likelihood of one's own is given as an object; nothing in a file names code.
"""

import dataclasses
import logging
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import tomli_w
import torch
from torch import nn

from zatlas import files
from zatlas.config import ModelConfig, TrainConfig, from_dict, to_dict
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.splits import few_to_choose_by
from zatlas.model import likelihoods
from zatlas.model.automatic import resolved_linear_path
from zatlas.model.building import build
from zatlas.model.likelihoods import Greys, Likelihood
from zatlas.model.network import Network, NetworkConfig, Posterior, Shape, load_weights
from zatlas.model.own import own_network, try_likelihood_of
from zatlas.model.priors import VampPrior
from zatlas.model.told import covariate_values, told_value
from zatlas.progress import Step
from zatlas.randomness import generator
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import PixelPca
from zatlas.tiles.transforms import Scaling
from zatlas.training.devices import raise_allocator_thresholds
from zatlas.training.fit import fit
from zatlas.training.start import start_from_images, start_from_tiles

if TYPE_CHECKING:
    from zatlas.atlas.atlas import Atlas
else:  # with scikit-learn and anndata, which take a second to import: they come after training
    Atlas = Any

__all__ = ["VAE", "load", "split_off_validation"]

log = logging.getLogger(__name__)


class VAE:
    """A variational autoencoder of images, with the grey scale it was trained on.

    Args:
        latent_dim: Number of latent dimensions d.
        likelihood: "gaussian" (one shared optimal variance), "bernoulli" (binary cross-entropy), another name of
            `zatlas.model.likelihoods.LIKELIHOODS`, or an object of a class of your own, made from
            `zatlas.model.likelihoods.Likelihood`. By default that of `network`, when it has an attribute of this name,
            else gaussian.
        prior: What latents cost against: "standard", N(0, I), or "mixture", "flow" or "vamp", which are trained with
            the model.
        beta: Weight of the rate in the objective.
        widths: Channels of the stages; each halves the image. Without them they follow from its size. Without effect on
            a network of your own.
        decoder: "transposed" or "upsample". Without effect on a network of your own.
        linear_path: "on" begins at principal components, which stay beside the convolutions; "off"; "auto": on for
            tiles and for trainings of up to 1000 steps. Without effect on a network of your own.
        covariate: Column of the images that the decoder is told, such as "group"; latents are kept free of what it says
            (`zatlas.model.covariate`). "" tells nothing. Not with a network of your own.
        covariate_weight: How strongly they are, for each value of an image.
        consistency: How strongly z is kept still where a tile is shifted [nats] (`zatlas.model.consistency`); 0 not at
            all. Without effect on a network of your own.
        texture: "local" has local latents beside z, which hold what lies where in an image (`zatlas.model.texture`);
            "matched" also gives draws the statistics of images (`zatlas.model.matching`); "off". Without effect on a
            network of your own.
        network: A torch module of your own to train instead of the network of zatlas, with `encode(x)`, which returns
            mean and log-variance of the latents, and `decode(z)`, which returns the numbers of the likelihood. It is
            copied, with the weights it has, at each `fit`; the trained copy is `vae.network.module`.
        seed: The one seed from which initial weights, draws and noise derive.

    Raises:
        UsageError: a value is out of range, or zatlas has no likelihood of this name.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        *,
        likelihood: str | Likelihood | None = None,
        prior: str = ModelConfig.prior,
        beta: float = ModelConfig.beta,
        widths: tuple[int, ...] = ModelConfig.widths,
        decoder: str = ModelConfig.decoder,
        linear_path: str = ModelConfig.linear_path,
        covariate: str = ModelConfig.covariate,
        covariate_weight: float = ModelConfig.covariate_weight,
        consistency: float = ModelConfig.consistency,
        texture: str = ModelConfig.texture,
        network: nn.Module | None = None,
        seed: int = 0,
    ) -> None:
        self._own, self._likelihood = network, _likelihood_of(likelihood, network)
        self.model = ModelConfig(
            latent_dim=(latent_dim,), likelihood=self._likelihood.name, prior=prior, beta=beta, widths=tuple(widths),
            decoder=decoder, linear_path=linear_path, covariate=covariate, covariate_weight=covariate_weight,
            consistency=consistency, texture=texture,
        )  # fmt: skip
        self.seed = seed
        self.history: pd.DataFrame | None = None
        self._network: Network | None = None
        self._scaling: Scaling | None = None

    @classmethod
    def from_model(cls, model: ModelConfig, latent_dim: int, *, seed: int, network: nn.Module | None = None) -> Self:
        """A VAE of one of the latent sizes of a model configuration.

        Args:
            model: Its options; those of the layers are without effect on a network of your own.
            latent_dim: Number of latent dimensions d.
            seed: Of initial weights and noise.
            network: A module of your own, as for `VAE`.

        Raises:
            UsageError: zatlas has no likelihood of this name, or that of `network` has another one.
        """
        inside = isinstance(getattr(network, "likelihood", None), Likelihood)
        vae = cls(latent_dim, likelihood=None if inside else model.likelihood, network=network, seed=seed)
        if vae._likelihood.name != model.likelihood:
            what = f"the network has the likelihood {vae._likelihood.name}, the study {model.likelihood}"
            raise UsageError(what, hint=f"set --likelihood to {vae._likelihood.name}")
        vae.model = dataclasses.replace(model, latent_dim=(latent_dim,))
        return vae

    def __repr__(self) -> str:
        if self._network is None:
            return f"VAE(latent_dim={self.latent_dim}, not trained)"
        shape = self._network.config
        return (
            f"VAE(latent_dim={self.latent_dim}, {shape.channels} x {shape.size} x {shape.size} px, "
            f"{self._network.likelihood.name})"
        )

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions d."""
        return self.model.latent_dim[0]

    @property
    def likelihood(self) -> Likelihood:
        """That of the trained network; before training the one that it will have a copy of."""
        return self._likelihood if self._network is None else self._network.likelihood

    @property
    def network(self) -> Network:
        """The torch module.

        Raises:
            UsageError: the VAE is not trained yet.
        """
        if self._network is None:
            raise UsageError("this VAE is not trained yet", hint="call fit(tiles) first, or load a trained one")
        return self._network

    @property
    def scaling(self) -> Scaling:
        """Grey scale on which the network works, with its inverse."""
        if self._scaling is None:
            raise UsageError("this VAE is not trained yet", hint="call fit(tiles) first, or load a trained one")
        return self._scaling

    def fit(
        self,
        tiles: Tiles,
        *,
        validation: Tiles | None = None,
        test: Tiles | None = None,
        epochs: int | None = None,
        train: TrainConfig | None = None,
        run: str | Path | None = None,
        keep_freed_memory: bool = False,
        pca: Callable[[], PixelPca] | None = None,
        on_step: Callable[[Step], None] | None = None,
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
        stop_requested: Callable[[], bool] | None = None,
    ) -> Self:
        """Train on `tiles`, or go on with the training that `run` holds.

        Args:
            tiles: What the model learns from.
            validation: Tiles (sampler "grid") that choose the best epoch; by default a tenth of the images of `tiles`
                is kept for it.
            test: Tiles evaluated each epoch beside them, which steer nothing.
            epochs: Passes over `tiles`; overrides `train.epochs`.
            train: All settings of the training.
            run: Folder for weights, history and checkpoints; a temporary one by default.
            keep_freed_memory: Let the allocator of the whole process keep freed memory, for good (Linux with glibc).
                Training is then 1.5 to 2 times as fast. The command line always does so.
            pca: Called when a training with a linear path begins: gives a PCA of `tiles` on their grey scale at which
                it begins, of at least `latent_dim` components. By default it is fitted to `tiles`.
            on_step: Called after each step with its numbers.
            on_epoch: Called after each epoch with its row of the history, a dictionary; numbers that are not known are
                None.
            stop_requested: Asked after each step; when it says yes, a checkpoint is written and training ends.

        Returns:
            The VAE itself, with the weights of the best epoch.

        Raises:
            UsageError: the network, the likelihood and the tiles do not go together, or `run` holds another training.
            DataError: there is only one image and no `validation`.
            TrainingError: loss or gradients were not finite, four times.
            WriteError: `run` cannot be written.
        """
        settings = train or TrainConfig()
        if epochs is not None:
            settings = dataclasses.replace(settings, epochs=epochs)
        if validation is None:
            tiles, validation = split_off_validation(tiles, seed=self.seed)
            groups = [one.images.table["group"].to_numpy(dtype=str) for one in (validation, tiles)]
            if few := few_to_choose_by(*groups, remedy="give more with validation="):  # of a study its split says so
                log.warning("%s", few)
        likelihoods.check_greys(self._likelihood, tiles.scaling.kind)
        network = self._new_network(self._shape(tiles, settings))
        network.likelihood.set_greys(_greys(tiles))
        start_from_images(network, tiles)
        if keep_freed_memory:
            raise_allocator_thresholds()
        with tempfile.TemporaryDirectory(prefix="zatlas-") as spare:
            folder = files.make_folder(Path(run) if run is not None else Path(spare))
            write_config = partial(_write_config, folder, self.model, network, tiles.scaling, settings, self.seed)
            if not (folder / "checkpoints").is_dir():  # else `fit` says first whether it is the same training
                write_config()
            start = partial(
                start_from_tiles, network, tiles, validation, settings, beta=self.model.beta, seed=self.seed, pca=pca
            )
            has_path = getattr(network.config, "linear_path", "off") == "on"
            self.history = fit(
                network, tiles, validation=validation, test=test, config=settings, beta=self.model.beta,
                seed=self.seed, run=folder, start=start if has_path else None, on_step=on_step, on_epoch=on_epoch,
                stop_requested=stop_requested,
            )  # fmt: skip
            write_config()  # a training may have gone on with more patience, or on another number of threads
            load_weights(network, folder / "weights.safetensors")
        self._network, self._scaling = network.cpu().eval(), tiles.scaling
        return self

    def check(self, *, channels: int, size: int, scaling: str, dtypes: Iterable[str]) -> None:
        """Refuse images that `fit` would refuse, by what is known before they are read.

        Args:
            channels: Of the images.
            size: Side of the tiles [px].
            scaling: "minmax" or "standardise".
            dtypes: Number types of the pixels, such as "uint8".

        Raises:
            UsageError: the network or the likelihood do not fit them.
        """
        likelihoods.check_greys(self._likelihood, scaling, dtypes)
        if self._own is not None:
            self._new_network(Shape(latent_dim=self.latent_dim, channels=channels, size=size))
        else:
            NetworkConfig.from_model(self.model, self.latent_dim, channels=channels, size=size)

    def _shape(self, tiles: Tiles, train: TrainConfig) -> Shape:
        channels, size = tiles.channels, tiles.size
        if self._own is not None:
            return Shape(latent_dim=self.latent_dim, channels=channels, size=size)
        path = self.path_for(tiles.sampler, tiles.epoch_length(0), train)
        model = dataclasses.replace(self.model, linear_path=path)
        values = covariate_values(tiles.images.table, model.covariate) if model.covariate else ()
        return NetworkConfig.from_model(model, self.latent_dim, channels=channels, size=size, covariate_values=values)

    def path_for(self, sampler: str, epoch_images: int, train: TrainConfig) -> str:
        """Whether a training on these tiles has a linear path, and so begins at PCA: "on" or "off".

        Args:
            sampler: Of the tiles.
            epoch_images: How many of them an epoch has.
            train: How it is trained.
        """
        if self._own is not None:
            return "off"
        asked = self.model.linear_path
        if self.model.covariate:
            return "off"  # components of the pixels hold the stain that z shall lose
        if asked == "auto" and self.model.texture != "off":
            asked = "off"  # details are held by local latents, beside which components of whole tiles add nothing
        if asked == "auto" and self.model.prior == VampPrior.name:
            asked = "off"  # posteriors as narrow as those of PCA are no prior: eight of them leave all images out
        return resolved_linear_path(asked, sampler, train.epochs * -(-epoch_images // train.batch_size))

    def _new_network(self, shape: Shape) -> Network:
        """The network before training."""
        if isinstance(shape, NetworkConfig):
            network = build(shape, self.seed, likelihoods.likelihood(self._likelihood))
            if not isinstance(self._likelihood, str):
                try_likelihood_of(network)
            return network
        if self.model.covariate:
            raise UsageError("--covariate needs the network of zatlas", hint="leave it out, or the network of your own")
        is_inside = getattr(self._own, "likelihood", None) is self._likelihood
        chosen = None if is_inside else self._likelihood
        return own_network(self._own, shape, chosen, prior=self.model.prior, seed=self.seed)

    def embed(
        self,
        images: Collection | Tiles,
        *,
        stride: int = 0,
        precision: str = "float32",
        refine: int = 0,
        table_extra: pd.DataFrame | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Atlas:
        """Posterior mean and log-variance of every image, or of a dense grid of tiles.

        Args:
            images: A collection, cut into tiles of the model's size every `stride` pixels, or grid tiles.
            stride: Distance between tiles [px]; 0 takes the tile size.
            precision: "float32", or "bfloat16": faster on processors that compute in it, with latents that differ by 1
                to 4 % of their spread (speed.md).
            refine: Gradient steps by which the posterior of each image is refined on its own ELBO; 0 takes the
                encoder's. Helps where the encoder is undertrained (reading_the_report.md); a step costs about as
                much as training on the image.
            table_extra: Columns added to the atlas, one row per tile.
            on_progress: Called with (tiles done, tiles in all).
        """
        from zatlas.atlas.encode import encode

        tiles = images if isinstance(images, Tiles) else self._grid(images, stride)
        return encode(
            self.network, tiles, precision=precision, refine=refine, beta=self.model.beta, table_extra=table_extra,
            on_progress=on_progress,
        )  # fmt: skip

    def _grid(self, images: Collection, stride: int) -> Tiles:
        size = self.network.config.size
        mapped = images if images.is_mapped else images.packed(Path(tempfile.mkdtemp(prefix="zatlas-")))
        return Tiles(mapped, size=size, sampler="grid", stride=stride or size, scaling=self.scaling)

    def encode(self, pixels: np.ndarray, *, refine: int = 0) -> Posterior:
        """Posterior of images in pixel units.

        Args:
            pixels: (b, c, h, w) of the model's channels and size.
            refine: Gradient steps by which each posterior is refined, as in `embed`.

        Returns:
            mean and log_var, each (b, d).

        Raises:
            UsageError: `refine` is no number of steps, or the network gives no gradients.
        """
        from zatlas.atlas.refinement import check_steps, refined_in_shards
        from zatlas.compute import in_shards

        check_steps(refine)
        x = torch.from_numpy(self.scaling.apply(pixels.astype(np.float32)))
        if refine:
            return refined_in_shards(self.network, x, steps=refine, beta=self.model.beta)
        parts = in_shards(self.network.encode, x)
        means, log_vars = zip(*parts, strict=True)
        return Posterior(torch.cat(means).detach(), torch.cat(log_vars).detach())

    @property
    def covariate_values(self) -> tuple[str, ...]:
        """Values of the covariate that the decoder can be told; () without one."""
        return self.network.covariate_values

    def decode(self, z: np.ndarray, *, covariate: str | None = None, draw: int = 1) -> np.ndarray:
        """Decoder mean of latents in pixel units of the input.

        Args:
            z: Latents (n, d).
            covariate: Value that the decoder is told, one of `covariate_values`; by default the mean of all.
            draw: Which texture a model with local latents draws, from 1, as numbered on the explorer's page.

        Returns:
            float32 (n, c, h, w).

        Raises:
            UsageError: latents of another size, a value that it was never told, or there is no such draw.
        """
        z = np.atleast_2d(np.asarray(z, dtype=np.float32))
        if z.shape[1] != self.latent_dim:
            raise UsageError(f"latents have {z.shape[1]} dimensions, this model has {self.latent_dim}")
        from zatlas.atlas.drawing import images_of_draw

        return self._in_pixel_units(images_of_draw(told_value(self.network, covariate), z, draw))

    def as_if(self, pixels: np.ndarray, covariate: str) -> np.ndarray:
        """Images (b, c, h, w) in pixel units as the model would draw them had they come from another brain: z of each,
        decoded for this value of the covariate. What comes back is drawn, not observed. Latents of an atlas go through
        `decode(z, covariate=...)`.
        """
        return self.decode(self.encode(pixels).mean.numpy(), covariate=covariate)

    def reconstruct(self, pixels: np.ndarray) -> np.ndarray:
        """Images (b, c, h, w) through the model and back, by the posterior mean, in pixel units."""
        from zatlas.compute import in_shards

        x = torch.from_numpy(self.scaling.apply(pixels.astype(np.float32)))
        return self._in_pixel_units(torch.cat(in_shards(self.network.reconstructed, x)))

    def _in_pixel_units(self, frames: torch.Tensor) -> np.ndarray:
        """Images on the network's grey scale in pixel units of the input, float32."""
        return np.asarray(self.scaling.invert(frames.detach().numpy()), dtype=np.float32)

    def sample(self, n: int, *, like: Atlas | None = None, prior: str = "", seed: int = 0) -> np.ndarray:
        """New images in pixel units, (n, c, h, w).

        Args:
            n: How many.
            like: Atlas whose training latents the images are drawn like, by a Gaussian mixture fitted to them
                (two-stage sampling; Dai & Wipf 2019, https://arxiv.org/abs/1903.05789). Without it latents come from
                the model's own prior, N(0, I) unless it was trained with another one, which for a small collection is
                far from what the decoder has seen.
            prior: With `like`, a prior fitted to its training latents instead: "gaussian", "mixture", "exemplars" or
                "flow" (`zatlas.atlas.fitted_priors`).
            seed: Of the draws.

        Raises:
            UsageError: `prior` is no such name, or given without `like`.
        """
        from zatlas.atlas.drawing import drawn_images

        return self._in_pixel_units(drawn_images(self.network, self._drawn(n, like, prior, seed), seed=seed))

    def _drawn(self, n: int, like: Atlas | None, prior: str, seed: int) -> np.ndarray:
        if prior:
            return self._drawn_like(n, like, prior, seed)
        if like is None:
            return self.network.prior.sample(n, self.latent_dim, generator(seed, "prior samples"))
        from zatlas.atlas.density import fit_density

        rows = like.table["split"].to_numpy() == "train" if "split" in like.table else np.ones(len(like.mean), bool)
        return fit_density(like.mean[rows], seed=seed).sample(n, seed=seed)

    def _drawn_like(self, n: int, like: Atlas | None, prior: str, seed: int) -> np.ndarray:
        from zatlas.atlas.fitted_priors import fit_prior, split_latents

        if like is None:
            raise UsageError(f"the prior {prior!r} is fitted to latents, and none are given", hint="give like=atlas")
        split = like.table["split"].to_numpy(dtype=str) if "split" in like.table else None
        parts = split_latents(like.mean, like.log_var, split, seed=seed)
        fitted = fit_prior(prior, parts["train"], parts["validation"], seed=seed)
        return fitted.sample(n, generator(seed, "prior samples"))

    def save(self, folder: str | Path) -> Path:
        """Write config.toml and weights.safetensors, which `zatlas.load` opens and other tools read."""
        target = Path(folder)
        with files.new_folder(target) as temporary:
            _write_config(temporary, self.model, self.network, self.scaling, None, self.seed)
            self.network.save_weights(temporary / "weights.safetensors")
        return target


def load(folder: str | Path, *, network: nn.Module | None = None, likelihood: str | Likelihood | None = None) -> VAE:
    """Open a trained model: a run folder such as `study/models/z16`, or one written by `VAE.save`.

    Args:
        folder: The folder.
        network: For a model that was trained with a network of your own: a module of the same shape, which is copied
            and filled with the weights. Code is never found by a name in the folder.
        likelihood: For a model that was trained with a likelihood of your own that is no part of `network`: the same.

    Raises:
        DataError: it holds no trained model, is damaged, or `network` has other parameters.
        UsageError: network or likelihood are wanted and not given, given and not wanted, or do not fit.
    """
    path = Path(folder)
    try:
        record = tomllib.loads((path / "config.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        hint = "give the folder of a model, such as my-study/models/z16"
        raise DataError(f"{path} holds no trained model: config.toml cannot be read", hint=hint) from err
    for part in ("model", "network", "scaling"):
        if part not in record:
            raise DataError(f"config.toml has no section [{part}]", where=str(path), hint="train the model again")
    model: ModelConfig = from_dict(ModelConfig, record["model"], where="config.toml")
    if likelihood is None and getattr(network, "likelihood", None) is None:
        likelihood = model.likelihood
    _check_given(str(record["network"].get("own", "")), model.likelihood, network, likelihood, str(path))
    vae = VAE(likelihood=likelihood, network=network, seed=int(record.get("seed", 0)))
    vae.model = model
    kind = NetworkConfig if network is None else Shape
    sizes = {field.name for field in dataclasses.fields(kind)}
    shape = {name: value for name, value in record["network"].items() if network is None or name in sizes}
    made = vae._new_network(from_dict(kind, shape, where="config.toml"))
    load_weights(made, path / "weights.safetensors")
    vae._network, vae._scaling = made.eval(), Scaling.from_dict(record["scaling"])
    if (path / "history.csv").is_file():
        vae.history = pd.read_csv(path / "history.csv")
    return vae


def split_off_validation(tiles: Tiles, *, seed: int, fraction: float = 0.1) -> tuple[Tiles, Tiles]:
    """Keep a share of the images of `tiles` aside: (tiles for training, fixed grid tiles for validation).

    Raises:
        DataError: there is only one image.
    """
    n = len(tiles.images)
    if n < 2:
        raise DataError("one image cannot be split into a training and a validation split", hint="give validation=")
    order = generator(seed, "validation of fit").permutation(n)
    kept = max(1, round(fraction * n))
    parts = [tiles.images.select(np.sort(rows)) for rows in (order[kept:], order[:kept])]
    training = Tiles(
        parts[0], size=tiles.size, sampler=tiles.sampler, seed=tiles.seed, scaling=tiles.scaling,
        augment=tiles.augment, tiles_per_epoch=tiles.tiles_per_epoch, level=tiles.level,
    )  # fmt: skip
    fixed = Tiles(
        parts[1], size=tiles.size, sampler="grid", stride=tiles.size, scaling=tiles.scaling, level=tiles.level
    )
    return training, fixed


def _greys(tiles: Tiles) -> Greys:
    """What a likelihood must know of the grey scale of tiles."""
    dtypes = [np.dtype(name) for name in tiles.images.table["dtype"].unique()]
    are_whole = all(dtype.kind in "ui" for dtype in dtypes)
    offset, factor = tiles.scaling.offset, tiles.scaling.factor
    lowest, highest = (offset + factor * limit for limit in tiles.scaling.limits)
    if are_whole:
        lowest = max(lowest, float(min(np.iinfo(dtype).min for dtype in dtypes)))
        highest = min(highest, float(max(np.iinfo(dtype).max for dtype in dtypes)))
    return Greys(tiles.channels, offset, factor, lowest, highest, are_whole)


def _likelihood_of(chosen: str | Likelihood | None, network: nn.Module | None) -> Likelihood:
    """The likelihood that was asked for, that of the network, or the default one."""
    inside = getattr(network, "likelihood", None)
    if chosen is None and isinstance(inside, Likelihood):
        return inside  # not a copy: its numbers are those of the network
    return likelihoods.likelihood(chosen or inside or ModelConfig.likelihood)


def _check_given(own: str, name: str, network: nn.Module | None, chosen: str | Likelihood | None, where: str) -> None:
    """Refuse a network or a likelihood that is missing, not wanted, or another one than was trained.

    Args:
        own: Class of the network that was trained; "" for that of zatlas.
        name: Of the likelihood that was trained.
        network: What was given.
        chosen: What was given, or the name where that must do; None leaves it to the network.
        where: The folder.

    Raises:
        UsageError: with what to give.
    """
    if own and network is None:
        what = f"this model was trained with a network of your own, {own}"
        in_a_study = f"zatlas.Study(folder, networks={{name: {own}(...)}})"
        hint = f"give it: zatlas.load(folder, network={own}(...)), or {in_a_study}"
        raise UsageError(what, where=where, hint=hint)
    if not own and network is not None:
        raise UsageError("this model was trained with the network of zatlas", where=where, hint="leave network= out")
    if chosen == name and name not in likelihoods.LIKELIHOODS:
        what = f"this model was trained with a likelihood of your own, {name}"
        raise UsageError(what, where=where, hint="give it: zatlas.load(folder, likelihood=...)")
    given = _likelihood_of(chosen, network).name
    if given != name:
        what = f"this model was trained with the likelihood {name}, found {given}"
        raise UsageError(what, where=where, hint=f"give the likelihood {name}")


def _write_config(
    folder: Path, model: ModelConfig, network: Network, scaling: Scaling, train: TrainConfig | None, seed: int
) -> None:
    record: dict[str, Any] = {
        "schema_version": files.SCHEMA_VERSION,
        "seed": seed,
        "model": to_dict(model),
        "network": network.record(),
        "scaling": scaling.to_dict(),
    }
    if train is not None:
        record["train"] = to_dict(train)
    files.write_text(folder / "config.toml", tomli_w.dumps(record))
