"""The estimator that users hold: fit, embed, decode, reconstruct, sample, save, load.

Thin on purpose. The network is `zatlas.model.network`, the loop `zatlas.training.fit`, the latents
`zatlas.atlas.encode`; this class keeps them together with the grey scale, so that images go in and come out in the
pixel units of the collection.

    images = za.open_images("cell_data.h5")
    train, test = images.split(test_groups=["B20"])
    vae = za.VAE(latent_dim=16).fit(za.Tiles(train, size=128), epochs=100, run="runs/z16")
    atlas = vae.embed(images, stride=64)
"""

import dataclasses
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import tomli_w
import torch

from zatlas import files
from zatlas.config import ModelConfig, TrainConfig, from_dict, to_dict
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.model.network import Network, NetworkConfig, Posterior, build, load_weights
from zatlas.progress import Step
from zatlas.randomness import generator
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling
from zatlas.training.devices import raise_allocator_thresholds
from zatlas.training.fit import fit

if TYPE_CHECKING:
    from zatlas.atlas.atlas import Atlas
else:  # with scikit-learn and anndata, which take a second to import: they come after training
    Atlas = Any

__all__ = ["VAE", "load", "split_off_validation"]


class VAE:
    """A variational autoencoder of images, with the grey scale it was trained on.

    Args:
        latent_dim: Number of latent dimensions d.
        likelihood: "bernoulli" (binary cross-entropy) or "gaussian" (one shared optimal variance).
        beta: Weight of the rate in the objective.
        widths: Channels of the stages; each halves the image.
        decoder: "transposed" or "upsample".
        seed: The one seed from which initial weights, draws and noise derive.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        *,
        likelihood: str = ModelConfig.likelihood,
        beta: float = ModelConfig.beta,
        widths: tuple[int, ...] = ModelConfig.widths,
        decoder: str = ModelConfig.decoder,
        seed: int = 0,
    ) -> None:
        self.model = ModelConfig(
            latent_dim=(latent_dim,), likelihood=likelihood, beta=beta, widths=tuple(widths), decoder=decoder
        )
        self.seed = seed
        self.history: pd.DataFrame | None = None
        self._network: Network | None = None
        self._scaling: Scaling | None = None

    @classmethod
    def from_model(cls, model: ModelConfig, latent_dim: int, *, seed: int) -> Self:
        """A VAE of one of the latent sizes of a model configuration."""
        vae = cls(latent_dim, seed=seed)
        vae.model = dataclasses.replace(model, latent_dim=(latent_dim,))
        return vae

    def __repr__(self) -> str:
        if self._network is None:
            return f"VAE(latent_dim={self.latent_dim}, not trained)"
        shape = self._network.config
        return (
            f"VAE(latent_dim={self.latent_dim}, {shape.channels} x {shape.size} x {shape.size} px, {shape.likelihood})"
        )

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions d."""
        return self.model.latent_dim[0]

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
        on_step: Callable[[Step], None] | None = None,
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
            on_step: Called after each step with its numbers.
            stop_requested: Asked after each step; when it says yes, a checkpoint is written and training ends.

        Returns:
            The VAE itself, with the weights of the best epoch.
        """
        settings = train or TrainConfig()
        if epochs is not None:
            settings = dataclasses.replace(settings, epochs=epochs)
        if validation is None:
            tiles, validation = split_off_validation(tiles, seed=self.seed)
        shape = NetworkConfig.from_model(self.model, self.latent_dim, channels=tiles.channels, size=tiles.size)
        network = build(shape, seed=self.seed)
        if keep_freed_memory:
            raise_allocator_thresholds()
        with tempfile.TemporaryDirectory(prefix="zatlas-") as spare:
            folder = files.make_folder(Path(run) if run is not None else Path(spare))
            _write_config(folder, self.model, shape, tiles.scaling, settings, self.seed)
            self.history = fit(
                network, tiles, validation=validation, test=test, config=settings, beta=self.model.beta,
                seed=self.seed, run=folder, on_step=on_step, stop_requested=stop_requested,
            )  # fmt: skip
            load_weights(network, folder / "weights.safetensors")
        self._network, self._scaling = network.cpu().eval(), tiles.scaling
        return self

    def embed(
        self,
        images: Collection | Tiles,
        *,
        stride: int = 0,
        precision: str = "float32",
        table_extra: pd.DataFrame | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Atlas:
        """Posterior mean and log-variance of every image, or of a dense grid of tiles.

        Args:
            images: A collection, cut into tiles of the model's size every `stride` pixels, or grid tiles.
            stride: Distance between tiles [px]; 0 takes the tile size.
            precision: "float32", or "bfloat16": faster on processors that compute in it, with latents that differ by 1
                to 4 % of their spread (speed.md).
            table_extra: Columns added to the atlas, one row per tile.
            on_progress: Called with (tiles done, tiles in all).
        """
        from zatlas.atlas.encode import encode

        tiles = images if isinstance(images, Tiles) else self._grid(images, stride)
        return encode(self.network, tiles, precision=precision, table_extra=table_extra, on_progress=on_progress)

    def _grid(self, images: Collection, stride: int) -> Tiles:
        size = self.network.config.size
        mapped = images if images.is_mapped else images.packed(Path(tempfile.mkdtemp(prefix="zatlas-")))
        return Tiles(mapped, size=size, sampler="grid", stride=stride or size, scaling=self.scaling)

    def encode(self, pixels: np.ndarray) -> Posterior:
        """Posterior of images in pixel units.

        Args:
            pixels: (b, c, h, w) of the model's channels and size.

        Returns:
            mean and log_var, each (b, d).
        """
        from zatlas.compute import in_shards

        parts = in_shards(self.network.encode, torch.from_numpy(self.scaling.apply(pixels.astype(np.float32))))
        return Posterior(torch.cat([part.mean for part in parts]), torch.cat([part.log_var for part in parts]))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Decoder mean of latents (n, d) in pixel units of the input, float32 (n, c, h, w)."""
        z = np.atleast_2d(np.asarray(z, dtype=np.float32))
        if z.shape[1] != self.latent_dim:
            raise UsageError(f"latents have {z.shape[1]} dimensions, this model has {self.latent_dim}")
        from zatlas.compute import in_shards

        frames = in_shards(self.network.x_hat, torch.from_numpy(z))
        return np.asarray(self.scaling.invert(torch.cat(frames).numpy()), dtype=np.float32)

    def reconstruct(self, pixels: np.ndarray) -> np.ndarray:
        """Images (b, c, h, w) through the model and back, by the posterior mean, in pixel units."""
        return self.decode(self.encode(pixels).mean.numpy())

    def sample(self, n: int, *, like: Atlas | None = None, seed: int = 0) -> np.ndarray:
        """New images in pixel units, (n, c, h, w).

        Args:
            n: How many.
            like: Atlas whose training latents the images are drawn like, by a Gaussian mixture fitted to them
                (two-stage sampling; Dai & Wipf 2019, https://arxiv.org/abs/1903.05789). Without it latents come from
                the prior N(0, I), which for a small collection is far from what the decoder has seen.
            seed: Of the draws.
        """
        if like is None:
            return self.decode(np.random.default_rng(seed).standard_normal((n, self.latent_dim)))
        from zatlas.atlas.density import fit_density

        rows = like.table["split"].to_numpy() != "test" if "split" in like.table else np.ones(len(like.mean), bool)
        return self.decode(fit_density(like.mean[rows], seed=seed).sample(n, seed=seed))

    def save(self, folder: str | Path) -> Path:
        """Write config.toml and weights.safetensors, which `zatlas.load` opens and other tools read."""
        target = Path(folder)
        with files.new_folder(target) as temporary:
            _write_config(temporary, self.model, self.network.config, self.scaling, None, self.seed)
            self.network.save_weights(temporary / "weights.safetensors")
        return target


def load(folder: str | Path) -> VAE:
    """Open a trained model: a run folder such as `study/models/z16`, or one written by `VAE.save`.

    Raises:
        DataError: it holds no trained model, or is damaged.
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
    vae = VAE(seed=int(record.get("seed", 0)))
    vae.model = from_dict(ModelConfig, record["model"], where="config.toml")
    shape = from_dict(NetworkConfig, record["network"], where="config.toml")
    network = build(shape, seed=vae.seed)
    load_weights(network, path / "weights.safetensors")
    vae._network, vae._scaling = network.eval(), Scaling.from_dict(record["scaling"])
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
        raise DataError("one image cannot be split into a training and a validation part", hint="give validation=")
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


def _write_config(
    folder: Path, model: ModelConfig, shape: NetworkConfig, scaling: Scaling, train: TrainConfig | None, seed: int
) -> None:
    record: dict[str, Any] = {
        "schema_version": files.SCHEMA_VERSION,
        "seed": seed,
        "model": to_dict(model),
        "network": to_dict(shape),
        "scaling": scaling.to_dict(),
    }
    if train is not None:
        record["train"] = to_dict(train)
    files.write_text(folder / "config.toml", tomli_w.dumps(record))
