"""The whole job: data, models, their atlases, the comparison, the report.

`study(config, out)` runs the phases in order. Each phase leaves its result in the study folder, whole or not at all,
and is skipped when that result is there, so that the same call continues where it was interrupted and redoes nothing.

What comes after training (scikit-learn, matplotlib) is imported there, so that the first step of training comes sooner.
"""

import dataclasses
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from torch import nn

from zatlas import files
from zatlas.config import ModelSpec, StudyConfig, read_study_config, to_toml, with_input_paths
from zatlas.errors import Interrupted
from zatlas.progress import Talk
from zatlas.results.kinds import ModelResults
from zatlas.studies.checks import check_atlas, check_images, folder_for, new_models
from zatlas.studies.data import (
    PCA_TILES,
    TEST_TILES,
    VALIDATION_TILES,
    StudyData,
    n_atlas_tiles,
    open_collection,
    relative_input,
    resolve,
)
from zatlas.studies.pca import study_pca
from zatlas.studies.study import Study
from zatlas.vae import VAE

if TYPE_CHECKING:
    from zatlas.atlas.atlas import Atlas
else:
    Atlas = Any

__all__ = ["study", "study_folder"]


def study(
    config: StudyConfig | str | Path,
    out: str | Path = "",
    *,
    networks: Mapping[str, nn.Module] | None = None,
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
        networks: Torch modules of your own that some models are made of, by the name of the model, such as "z16"; see
            `VAE`. Each must be given again when the study goes on, because no file names code.
        force: Begin afresh in a new folder beside `out` when `out` holds a study of another configuration.
        command: The command line, for the manifest.
        talk: Where progress goes.
        until: "train" ends when the models are trained; by default everything is done.

    Returns:
        The finished study.

    Raises:
        UsageError: `out` holds a study of another configuration, another process is writing there, or a setting or a
            network does not fit the images.
        DataError: the images cannot be used, or are too few.
    """
    talk = talk or Talk()
    if not isinstance(config, StudyConfig):
        config = read_study_config(Path(config))
    own = dict(networks or {})
    begun = start(config, study_folder(config, out), new_models(config, own), force=force, until=until)
    made = Study(begun.folder, networks=own)
    with files.lock(made.folder):
        files.remove_leftovers(made.folder)
        made = _ask_for_patience(made, config.train.patience)
        _run_phases(made, command, talk, until)
    return made


def study_folder(config: StudyConfig, out: str | Path = "") -> Path:
    """The folder of a study: `out`, or one named after the data in the working folder."""
    return Path(out) if out else Path(f"{Path(config.data.input).stem or 'my'}-study")


def start(
    config: StudyConfig, folder: Path, models: Mapping[str, VAE], *, force: bool = False, until: str = ""
) -> Study:
    """Make the study's folder, or open it when it holds a study of the same configuration and images."""
    config = with_input_paths(config, lambda path: relative_input(path, folder))
    collection = open_collection(config, folder)
    config = resolve(config, collection)
    check_images(config, collection, models, with_atlas=until != "train")
    folder = folder_for(config, collection, folder, force=force)
    if not (folder / "study.toml").is_file():
        files.make_folder(folder)
        _write_config(folder, config)
    return Study(folder)


def _ask_for_patience(made: Study, patience: int) -> Study:
    """The study with another patience; what was made of models that go on because of it is removed."""
    config = made.config
    if config.train.patience == patience:
        return made
    going_on = [name for name in made.names if _goes_on(made, name, patience)]
    old = [made.folder / "results" / name for name in (*going_on, "study")]
    old += [made.folder / "atlases" / f"{name}.h5ad" for name in going_on]
    for path in old if going_on else []:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name in made.names:
        _note_patience(made.folder / "models" / name / "config.toml", patience)
    # Last, so that whoever is stopped in between does all of it again.
    _write_config(made.folder, dataclasses.replace(config, train=dataclasses.replace(config.train, patience=patience)))
    return Study(made.folder, networks=made.networks)


def _note_patience(path: Path, patience: int) -> None:
    """Bring the config.toml of a model along, as if the study had been made with this patience from the beginning."""
    if path.is_file():
        record = tomllib.loads(path.read_text(encoding="utf-8"))
        record.get("train", {})["patience"] = patience
        files.write_text(path, tomli_w.dumps(record))


def _goes_on(made: Study, name: str, patience: int) -> bool:
    """Whether the training of a model ended early and would not have with this patience."""
    path = made.folder / "models" / name / "training.json"
    record = files.read_json(path) if path.is_file() else {}
    waited = record.get("epochs", 0) - record.get("best_epoch", 0)
    return bool(record.get("stopped")) and (patience == 0 or waited < patience)


def _write_config(folder: Path, config: StudyConfig) -> None:
    files.write_text(folder / "study.toml", f"schema_version = {files.SCHEMA_VERSION}\n{to_toml(config)}")


def _run_phases(made: Study, command: Sequence[str], talk: Talk, until: str) -> None:
    facts = _facts(made, command)
    going_on = any(_goes_on(made, name, made.config.train.patience) for name in made.names)
    if made.state == "complete" and not going_on and not files.verify(made.folder):
        talk.say(f"{made.folder} is complete; nothing to do")
        return
    data = made.data(talk)
    check_atlas(data.config, n_atlas_tiles(data.config, data.collection), is_made=until != "train")
    facts["fingerprint"] = data.fingerprint
    files.write_manifest(made.folder, {**facts, "state": "running"})
    for spec in made.config.model_specs:
        train_model(made, data, spec, talk)
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


def train_model(made: Study, data: StudyData, spec: ModelSpec, talk: Talk) -> None:
    """Train one model, or go on with it, unless it is trained."""
    name = spec.name
    folder = made.folder / "models" / name
    record = folder / "training.json"
    config = made.config
    is_complete = record.is_file() and files.read_json(record)["state"] == "complete"
    if is_complete and not _goes_on(made, name, config.train.patience):
        return
    talk.say(f"training {name} on {len(data.rows('train'))} images, {config.train.epochs} epochs")
    VAE.from_model(spec.config, spec.latent_dim, seed=spec.seed, network=made.networks.get(name)).fit(
        data.training_tiles(spec.seed),
        validation=data.fixed_tiles("validation", most=VALIDATION_TILES),
        test=data.fixed_tiles("test", most=VALIDATION_TILES),
        train=config.train,
        run=folder,
        pca=lambda: study_pca(data, made.folder, talk).start(spec.latent_dim),
        on_step=lambda step: talk.step(name, step),
        on_epoch=lambda row: talk.epoch(name, row),
        stop_requested=talk.stop_requested,
    )
    facts = files.read_json(record)
    if facts["stopped"]:
        talk.say(
            f"training of {name} stopped after epoch {facts['epochs']}: {facts['stopped']}; the same command with "
            "--patience 0 goes on"
        )
    if facts["state"] != "complete":
        raise Interrupted(f"training of {name} was stopped", hint="the same command goes on from the last checkpoint")


def embed_model(made: Study, data: StudyData, name: str, talk: Talk) -> Atlas:
    """The atlas of one model: latents, PCA, clusters, t-SNE."""
    path = made.folder / "atlases" / f"{name}.h5ad"
    if path.is_file():
        return made.atlas(name)
    files.make_folder(path.parent)
    tiles = data.atlas_tiles()
    extra = data.atlas_table(tiles)
    atlas = made.vae(name).embed(tiles, table_extra=extra, on_progress=talk.on(f"encoding {name}"))
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
    vae, spec = made.vae(name), made.spec(name)
    most = {"train": PCA_TILES, "validation": TEST_TILES, "test": TEST_TILES}
    tiles = {part: data.fixed_tiles(part, most=n) for part, n in most.items()}
    tiles |= {"atlas": data.atlas_tiles()}
    pca = study_pca(data, made.folder, talk).beside(spec.latent_dim)
    results = analyse_model(
        vae.network, data.scaling, made.atlas(name), tiles, made.config.for_model(spec), made.config.seed,
        name=name, pca=pca, on_progress=talk.on(f"analysing {name}"),
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
