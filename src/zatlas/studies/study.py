"""The whole job: data, a model for each latent size, their atlases, the comparison, the report.

`study(config, out)` runs the phases in order. Each phase leaves its result in the study folder, whole or not at all,
and is skipped when that result is there, so that the same call continues where it was interrupted and redoes nothing.
`Study` opens such a folder.

What comes after training (scikit-learn, matplotlib) is imported there, so that the first step of training comes sooner.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zatlas import files
from zatlas.config import (
    StudyConfig,
    difference,
    from_toml,
    read_study_config,
    to_dict,
    to_toml,
    with_input_paths,
)
from zatlas.errors import DataError, Interrupted, UsageError
from zatlas.images.collection import Collection
from zatlas.progress import Talk
from zatlas.results.kinds import Comparison, DataSummary, ModelResults, StudyResults
from zatlas.studies.data import (
    PCA_TILES,
    TEST_TILES,
    VALIDATION_TILES,
    StudyData,
    locate,
    open_collection,
    prepare,
    relative_input,
    resolve,
)
from zatlas.vae import VAE, load

if TYPE_CHECKING:
    from zatlas.atlas.atlas import Atlas
else:
    Atlas = Any

__all__ = ["Study", "study", "study_folder"]

log = logging.getLogger(__name__)

_HEADLINE = ("test_distortion_nats", "test_rate_nats", "test_psnr_db", "test_pca_psnr_db", "active_dims")


class Study:
    """A study folder: its configuration, trained models, atlases and results.

    Args:
        folder: A folder that `zatlas study` has written, anywhere, also read-only.

    Raises:
        DataError: the folder holds no study.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "study.toml").is_file():
            raise DataError(
                f"{self.folder} is not a study: it holds no study.toml", hint="zatlas study IMAGES -o STUDY"
            )
        self.config: StudyConfig = from_toml(self.folder / "study.toml")

    def __repr__(self) -> str:
        return f"Study({self.folder.name}: {', '.join(self.names)}, {self.state})"

    @property
    def names(self) -> list[str]:
        """Names of the models, such as z4, z16, z32."""
        return [f"z{d}" for d in self.config.model.latent_dim]

    @property
    def state(self) -> str:
        """How far the study is: planned, running or complete."""
        path = self.folder / "manifest.json"
        return str(files.read_json(path)["state"]) if path.is_file() else "planned"

    def name(self, wanted: str = "") -> str:
        """The name of a model: `wanted`, which may be just the latent size, or the last one.

        Raises:
            UsageError: the study has no such model.
        """
        if not wanted:
            return self.names[-1]
        candidate = wanted if wanted.startswith("z") else f"z{wanted}"
        if candidate not in self.names:
            raise UsageError(f"this study has no model {wanted}", hint=f"its models are {', '.join(self.names)}")
        return candidate

    def vae(self, name: str = "") -> VAE:
        """A trained model."""
        return load(self.folder / "models" / self.name(name))

    def atlas(self, name: str = "") -> Atlas:
        """The atlas of a model."""
        from zatlas.atlas.atlas import Atlas

        path = self.folder / "atlases" / f"{self.name(name)}.h5ad"
        if not path.is_file():
            raise DataError(f"this study has no atlas of {self.name(name)} yet", hint=f"zatlas embed {self.folder}")
        return Atlas.load(path)

    def data(self, talk: Talk | None = None, *, input_path: str = "") -> StudyData:
        """The images of the study, opened again where they were, or at `input_path`.

        Raises:
            DataError: they are not there, or are not the images that the study was made from.
        """
        config = self.config
        if input_path:
            data = dataclasses.replace(config.data, input=relative_input(input_path, self.folder))
            config = dataclasses.replace(config, data=data)
        collection = open_collection(config, self.folder)
        if not _are_its_images(self.folder, collection):
            raise DataError("these are not the images that the study was made from", hint="give the original images")
        return prepare(config, collection, self.folder, talk or Talk())

    def config_as_given(self) -> StudyConfig:
        """The configuration with input paths that can be opened from the working folder."""
        return with_input_paths(self.config, lambda path: str(locate(path, self.folder)))

    def headline(self) -> dict[str, dict[str, float]]:
        """The few numbers of each model that say most, from the comparison of the finished study."""
        table = self.results().comparison.table
        wanted = [name for name in table.columns if name in _HEADLINE]
        return {f"z{int(row['latent_dim'])}": {k: float(row[k]) for k in wanted} for _, row in table.iterrows()}

    def record_files(self) -> None:
        """Bring manifest.json up to date with the files of the study."""
        manifest = files.read_json(self.folder / "manifest.json")
        files.write_manifest(self.folder, {k: v for k, v in manifest.items() if k not in ("schema_version", "files")})

    def results(self) -> StudyResults:
        """All numbers and example images of the study, as the report shows them.

        Raises:
            DataError: the study is not finished.
        """
        if not (self.folder / "results" / "study").is_dir():
            raise DataError(f"{self.folder.name} is not finished", hint=f"zatlas study {self.folder} goes on with it")
        models = [ModelResults.load(self.folder / "results" / name) for name in self.names]
        overall = self.folder / "results" / "study"
        return StudyResults(
            data=DataSummary.load(overall / "data"), models=models, comparison=Comparison.load(overall / "comparison"),
            config=to_dict(self.config), provenance=files.read_json(overall / "provenance.json"),
        )  # fmt: skip


def study(
    config: StudyConfig | str | Path,
    out: str | Path = "",
    *,
    force: bool = False,
    command: Sequence[str] = (),
    talk: Talk | None = None,
    until: str = "",
) -> Study:
    """Run a study, or go on with it.

    Args:
        config: The configuration, or a TOML file with one; its input paths are relative to the working folder, or to
            the file.
        out: The study's folder; by default named after the data.
        force: Begin afresh in a new folder beside `out` when `out` holds a study of another configuration.
        command: The command line, for the manifest.
        talk: Where progress goes.
        until: "train" ends when the models are trained; by default everything is done.

    Returns:
        The finished study.

    Raises:
        UsageError: `out` holds a study of another configuration, or another process is writing there.
        DataError: the images cannot be used.
    """
    talk = talk or Talk()
    if not isinstance(config, StudyConfig):
        config = read_study_config(Path(config))
    made = start(config, study_folder(config, out), force=force)
    with files.lock(made.folder):
        files.remove_leftovers(made.folder)
        _run_phases(made, command, talk, until)
    return made


def study_folder(config: StudyConfig, out: str | Path = "") -> Path:
    """The folder of a study: `out`, or one named after the data in the working folder."""
    return Path(out) if out else Path(f"{Path(config.data.input).stem or 'my'}-study")


def start(config: StudyConfig, folder: Path, *, force: bool = False) -> Study:
    """Make the study's folder, or open it when it holds a study of the same configuration and images."""
    data = config.data
    if not data.input:
        raise UsageError("no images given", hint="zatlas study IMAGES -o STUDY")
    config = with_input_paths(config, lambda path: relative_input(path, folder))
    collection = open_collection(config, folder)
    config = resolve(config, collection)
    if (folder / "study.toml").is_file():
        changes = _changes(Study(folder), config, collection)
        if not changes:
            return Study(folder)
        if not force:
            raise UsageError(
                f"{folder} holds a study of another configuration: {'; '.join(changes)}",
                hint="give another folder with -o, or --force to begin afresh in a new folder beside it",
            )
        folder = _free_folder(folder)
        return start(dataclasses.replace(config, data=data), folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no study", hint="give another folder with -o")
    files.make_folder(folder)
    files.write_text(folder / "study.toml", f"schema_version = {files.SCHEMA_VERSION}\n{to_toml(config)}")
    return Study(folder)


def _changes(old: Study, config: StudyConfig, collection: Collection) -> list[str]:
    """What differs between a study and a configuration; where the images lie does not count, what they are does."""
    same_place = dataclasses.replace(
        config.data, input=old.config.data.input, labels=old.config.data.labels if config.data.labels else ""
    )
    changes = difference(old.config, dataclasses.replace(config, data=same_place))
    if not _are_its_images(old.folder, collection):
        changes.append("the images (their content differs)")
    return changes


def _are_its_images(folder: Path, collection: Collection) -> bool:
    """Whether these are the images that the study was made from; true as long as it has none."""
    record = folder / "data" / "data.json"
    return not record.is_file() or bool(files.read_json(record)["fingerprint"] == collection.fingerprint())


def _free_folder(folder: Path) -> Path:
    return next(p for n in range(2, 10_000) if not (p := folder.with_name(f"{folder.name}-{n}")).exists())


def _run_phases(made: Study, command: Sequence[str], talk: Talk, until: str) -> None:
    facts = _facts(made, command)
    if made.state == "complete" and not files.verify(made.folder):
        talk.say(f"{made.folder} is complete; nothing to do")
        return
    data = made.data(talk)
    for warning in data.split.warnings:
        talk.say(f"warning: {warning}")
    facts["fingerprint"] = data.fingerprint
    files.write_manifest(made.folder, {**facts, "state": "running"})
    for latent_dim in made.config.model.latent_dim:
        train_model(made, data, latent_dim, talk)
    if until == "train":
        return
    for name in made.names:
        embed_model(made, data, name, talk)
        analyse(made, data, name, talk)
    compare(made, data, facts, talk)
    make_report(made, talk)
    files.write_manifest(made.folder, {**facts, "state": "complete"})


def _facts(made: Study, command: Sequence[str]) -> dict[str, Any]:
    return {"command": list(command), "seed": made.config.seed, "environment": files.environment()}


def train_model(made: Study, data: StudyData, latent_dim: int, talk: Talk) -> None:
    """Train one model, or go on with it, unless it is trained."""
    name = f"z{latent_dim}"
    folder = made.folder / "models" / name
    record = folder / "training.json"
    if record.is_file() and files.read_json(record)["state"] == "complete":
        return
    config = made.config
    talk.say(f"training {name} on {len(data.rows('train'))} images, {config.train.epochs} epochs")
    VAE.from_model(config.model, latent_dim, seed=config.seed).fit(
        data.training_tiles(),
        validation=data.fixed_tiles("validation", most=VALIDATION_TILES),
        test=data.fixed_tiles("test", most=VALIDATION_TILES),
        train=config.train,
        run=folder,
        on_step=lambda step: talk.step(name, step),
        stop_requested=talk.stop_requested,
    )
    if files.read_json(record)["state"] != "complete":
        raise Interrupted(f"training of {name} was stopped", hint="the same command goes on from the last checkpoint")


def embed_model(made: Study, data: StudyData, name: str, talk: Talk) -> Atlas:
    """The atlas of one model: latents, PCA, clusters, t-SNE."""
    path = made.folder / "atlases" / f"{name}.h5ad"
    if path.is_file():
        return made.atlas(name)
    files.make_folder(path.parent)
    tiles = data.atlas_tiles()
    extra = data.atlas_table(tiles)
    atlas = load(made.folder / "models" / name).embed(tiles, table_extra=extra, on_progress=talk.on(f"encoding {name}"))
    settings, seed = made.config.atlas, made.config.seed
    talk.say(f"mapping {name}: PCA, k-means, t-SNE of {len(atlas.mean)} latents")
    atlas.pca()
    atlas.kmeans(settings.clusters, seed=seed)
    atlas.tsne(seed=seed, perplexity=settings.perplexity)
    atlas.info.update(model=name, seed=seed, fingerprint=data.fingerprint)
    atlas.save(path)
    return atlas


def analyse(made: Study, data: StudyData, name: str, talk: Talk) -> None:
    """Everything that the report says about one model."""
    folder = made.folder / "results" / name
    if folder.is_dir():
        return
    from zatlas.results.analysis import analyse_model

    files.make_folder(folder.parent)
    vae = load(made.folder / "models" / name)
    most = {"train": PCA_TILES, "validation": TEST_TILES, "test": TEST_TILES}
    tiles = {part: data.fixed_tiles(part, most=n) for part, n in most.items()}
    results = analyse_model(
        vae.network, data.scaling, made.atlas(name), {**tiles, "atlas": data.atlas_tiles()}, made.config,
        made.config.seed, on_progress=talk.on(f"analysing {name}"),
    )  # fmt: skip
    if vae.history is not None:
        results.history = vae.history
    results.save(folder)


def compare(made: Study, data: StudyData, facts: dict[str, Any], talk: Talk) -> None:
    """The models side by side, and the summary of the data."""
    folder = made.folder / "results" / "study"
    if folder.is_dir():
        return
    from zatlas.images.inspection import inspection
    from zatlas.results.analysis import compare_models
    from zatlas.results.summary import describe

    talk.say("comparing the models")
    models = [ModelResults.load(made.folder / "results" / name) for name in made.names]
    with files.new_folder(folder) as temporary:
        compare_models(models, [made.atlas(name) for name in made.names]).save(temporary / "comparison")
        found = inspection(data.originals, grey=data.statistics, split=data.split, seed=made.config.seed)
        tiles = data.training_tiles() if made.config.tiles.tile else None
        summary = describe(data.originals, found, data.split, made.config, data.scaling, tiles)
        summary.save(temporary / "data")
        choices = {name: files.read_json(made.folder / "models" / name / "training.json") for name in made.names}
        files.write_json(temporary / "provenance.json", {**facts, "training": choices})


def make_report(made: Study, talk: Talk) -> Path:
    """Figures and report.html from the stored results alone; needs neither images nor models."""
    from zatlas.report.figures.writing import write_figures
    from zatlas.report.page import report as write_report

    results = made.results()
    manifest = write_figures(results, made.folder / "figures", on_progress=talk.on("drawing figures"))
    page = made.folder / "report.html"
    return write_report(results, manifest, page, on_progress=talk.on("composing the page"))
