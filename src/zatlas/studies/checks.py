"""What a study refuses before it begins: settings that do not fit each other, its images, or what its folder holds.

`study` and `--dry-run` ask the same here. Nothing is read but the headers of the images, and nothing is written: a
mistake costs neither an hour of training nor a folder that stands in the way of the next try.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn

from zatlas.atlas.projection import LEAST_IMAGES
from zatlas.config import StudyConfig, difference
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.splits import Split, planned_split
from zatlas.model.likelihoods import check_greys
from zatlas.model.told import covariate_values
from zatlas.studies.data import n_atlas_tiles
from zatlas.studies.study import Study, made_from
from zatlas.vae import VAE

__all__ = ["check_atlas", "check_images", "folder_for", "needs_pca", "new_models"]


def new_models(config: StudyConfig, networks: Mapping[str, nn.Module]) -> dict[str, VAE]:
    """The models of a study before training, by name.

    Raises:
        UsageError: there is a network for a model that the study does not have, or a likelihood does not fit its
            network or the grey scale.
    """
    names = [spec.name for spec in config.model_specs]
    for name in networks:
        if name not in names:
            what = f"there is a network for the model {name}, which the study does not have"
            raise UsageError(what, hint=f"its models are {', '.join(names)}")
    made = {}
    for spec in config.model_specs:
        network = networks.get(spec.name)
        made[spec.name] = VAE.from_model(spec.config, spec.latent_dim, seed=spec.seed, network=network)
        with _at(config, spec.name):
            check_greys(made[spec.name].likelihood, config.tiles.scaling)
    return made


def check_images(
    config: StudyConfig, collection: Collection, models: Mapping[str, VAE], *, with_atlas: bool = True
) -> Split:
    """Refuse what cannot be done with these images.

    Args:
        config: Completed by `resolve`.
        collection: The images; their headers are looked at.
        models: By name.
        with_atlas: An atlas will be made.

    Returns:
        The split as it will be, unless images turn out to be damaged.

    Raises:
        UsageError: a setting does not fit the images.
        DataError: there are too few of them.
    """
    split = planned_split(collection, config.split, config.seed)
    check_atlas(config, n_atlas_tiles(config, collection), is_made=with_atlas)
    n = len(split.rows("train"))
    if needs_pca(config, models, config.tiles.tiles_per_epoch or n, with_atlas=with_atlas):
        _check_pca(config, n)
    for name, vae in models.items():
        with _at(config, name):
            if vae.model.covariate:
                covariate_values(collection.table.iloc[split.rows("train")], vae.model.covariate)
            vae.check(
                channels=collection.channels, size=config.tiles.side_px, scaling=config.tiles.scaling,
                dtypes=collection.table["dtype"].unique(),
            )  # fmt: skip
    return split


def needs_pca(config: StudyConfig, models: Mapping[str, VAE], epoch_images: int, *, with_atlas: bool = True) -> bool:
    """Whether a PCA of the training images is fitted: models with a linear path begin at it, results compare with it.

    Args:
        config: Completed by `resolve`.
        models: By name.
        epoch_images: How many images or tiles an epoch has.
        with_atlas: Results follow the training.
    """
    paths = (vae.path_for(config.tiles.sampler_name, epoch_images, config.train) for vae in models.values())
    return with_atlas or "on" in paths


def _check_pca(config: StudyConfig, n: int) -> None:
    """Refuse a single training image that is seen unchanged each time: there is no variance between images then."""
    is_varied = config.tiles.tile or config.tiles.is_augmented or config.train.jitter
    if n < 2 and not is_varied:
        raise DataError(
            f"the training part has {n} image, expected at least 2 where images are neither flipped nor moved",
            hint="add images, lower --test-fraction or --validation-fraction, or set --augment on",
        )


def check_atlas(config: StudyConfig, n: int, *, is_made: bool = True) -> None:
    """Refuse an atlas that cannot be made of n images or tiles.

    A study of fewer than 5 is refused, rather than made without t-SNE: there is no density of its latents either, one
    region, no probe, and a single image that judges. Its report would be a page of gaps that looks like evidence.

    Raises:
        UsageError: more regions or a larger perplexity are asked for than n images have.
        DataError: they are too few.
    """
    unit = "tiles" if config.tiles.tile else "images"
    if is_made and n < LEAST_IMAGES:
        what = f"the atlas would have {n} {unit}, expected at least {LEAST_IMAGES}: a map and a density need them"
        more = "use a smaller --tile" if config.tiles.tile else "cut tiles from each, such as with --tile 64"
        raise DataError(what, hint=f"add images, or {more}; zatlas train makes models without an atlas")
    settings = config.atlas
    for flag, value, most in (("perplexity", settings.perplexity, n - 1), ("clusters", settings.clusters, n)):
        if value > most:
            what = f"--{flag} is {value:g}, expected at most {most} for an atlas of {n} {unit}"
            raise UsageError(what, hint=f"leave --{flag} out")


@contextlib.contextmanager
def _at(config: StudyConfig, name: str) -> Iterator[None]:
    """Errors of a model tell which one it is, where models have names of their own."""
    try:
        yield
    except UsageError as err:
        if not config.models:
            raise
        raise UsageError(err.what, where=f"[[models]] {name}", hint=err.hint) from err


def folder_for(config: StudyConfig, collection: Collection, folder: Path, *, force: bool = False) -> Path:
    """Where the study is to be made, or gone on with: `folder`, or with `force` a new one beside it.

    Raises:
        UsageError: `folder` holds a study of another configuration, or other files.
    """
    if (folder / "study.toml").is_file():
        changes = _changes(Study(folder), config, collection)
        if changes and not force:
            raise UsageError(
                f"{folder} holds a study of another configuration: {'; '.join(changes)}",
                hint="give another folder with -o, or --force to begin afresh in a new folder beside it",
            )
        return _free_folder(folder) if changes else folder
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no study", hint="give another folder with -o")
    return folder


def _changes(old: Study, config: StudyConfig, collection: Collection) -> list[str]:
    """What differs between a study and a configuration.

    Where the images lie does not count, what they are does. How long a training waits for a gain may change: it then
    goes on from where it stopped.
    """
    same_place = dataclasses.replace(
        config.data, input=old.config.data.input, labels=old.config.data.labels if config.data.labels else ""
    )
    same_patience = dataclasses.replace(config.train, patience=old.config.train.patience)
    changes = difference(old.config, dataclasses.replace(config, data=same_place, train=same_patience))
    if not made_from(old.folder, collection):
        changes.append("the images (their content differs)")
    return changes


def _free_folder(folder: Path) -> Path:
    return next(p for n in range(2, 10_000) if not (p := folder.with_name(f"{folder.name}-{n}")).exists())
