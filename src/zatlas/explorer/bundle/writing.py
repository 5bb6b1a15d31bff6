"""The explorer's bundle: everything that the page shows of a finished study, in one folder of plain files.

manifest.json names every file with its sha256 and says what is inside; columns are little-endian arrays, pictures WebP
sheets, networks ONNX. The same study gives the same bytes. Pictures of the images travel only as far as asked for:
thumbnails by default, the pixels that the model sees with `with_originals`. A study whose images are gone still gives a
bundle, without pictures.
"""

import atexit
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zatlas import files
from zatlas.atlas.atlas import Atlas
from zatlas.errors import DataError, FileAccessError, WriteError
from zatlas.explorer.bundle import facts
from zatlas.explorer.bundle.columns import Files, clean, plain, row_names, shared_columns
from zatlas.explorer.bundle.model_part import model_part, networks
from zatlas.explorer.bundle.sheets import THUMBNAIL_PX, write_sheets
from zatlas.progress import Talk
from zatlas.results.kinds import StudyResults
from zatlas.studies.study import Study
from zatlas.tiles.greys import grey_limits, known_grey_limits
from zatlas.tiles.transforms import Scaling

if TYPE_CHECKING:
    from zatlas.tiles.loader import Tiles
    from zatlas.vae import VAE

__all__ = ["SCHEMA_VERSION", "BundleOptions", "bundle_of", "check_bundle", "write_bundle"]

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
FOLDER = "explorer"


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """What goes into a bundle."""

    models: tuple[str, ...] = ()
    """Names of the models; () takes all."""
    with_originals: bool = False
    """Pictures with all pixels that the model sees."""
    with_thumbnails: bool = True
    """Small pictures."""
    with_encoder: bool = True
    """The encoder, with which a person can place an image of their own on the map."""


def write_bundle(
    study: Study,
    folder: Path,
    *,
    models: Sequence[str] = (),
    with_originals: bool = False,
    with_thumbnails: bool = True,
    with_encoder: bool = True,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Write the bundle of a finished study into `folder`, whole or not at all.

    Args:
        study: The study.
        folder: Replaced when it exists.
        models: Names of the models, such as "z16"; () takes all.
        with_originals: Take along the pictures as the model sees them, lossless.
        with_thumbnails: Take along small pictures (at most 64 px).
        with_encoder: Take along the encoder.
        talk: Where progress goes.

    Returns:
        The manifest.

    Raises:
        DataError: the study is not finished.
        UsageError: the study has no such model.
        WriteError: the folder cannot be written.
    """
    options = BundleOptions(
        models=_chosen(study, models), with_originals=with_originals, with_thumbnails=with_thumbnails,
        with_encoder=with_encoder,
    )  # fmt: skip
    return _write_whole(study, Path(folder), options, talk or Talk())


def _chosen(study: Study, models: Sequence[str]) -> tuple[str, ...]:
    """Names of models in full, each once."""
    return tuple(dict.fromkeys(study.name(name) for name in models))


def _write_whole(study: Study, folder: Path, options: BundleOptions, talk: Talk) -> dict[str, Any]:
    with files.new_folder(folder) as temporary:
        manifest = _write(study, temporary, options, talk)
        files.write_json(temporary / "manifest.json", manifest)
    return manifest


def _write(study: Study, folder: Path, options: BundleOptions, talk: Talk) -> dict[str, Any]:
    """Write all files but the manifest, which is returned."""
    results = study.results()
    names = list(options.models) or study.names
    writer = Files(folder)
    atlases = {name: study.atlas(name) for name in names}
    first = atlases[names[0]]
    vaes = {name: study.vae(name) for name in names}
    wants_pictures = options.with_originals or options.with_thumbnails
    limits, note = known_grey_limits(vaes[names[0]].scaling, {results.data.dtype}), ""
    tiles = None
    if wants_pictures or limits is None:
        tiles, found, note = _pictures(study, first, talk, is_wanted=wants_pictures)
        limits = found or limits
    limits = limits or _measured_limits(results, vaes[names[0]].scaling)
    thumbnails, originals = None, None
    if tiles is not None and wants_pictures:
        thumbnails, originals = write_sheets(
            writer, tiles, limits, with_thumbnails=options.with_thumbnails, with_originals=options.with_originals,
            on_progress=talk.on("drawing sheets of images"),
        )  # fmt: skip
    rows, columns = writer.json("names", row_names(first)), shared_columns(writer, first)
    parts = [_model(writer, name, atlases[name], vaes[name], results, limits, options, talk) for name in names]
    shape = vaes[names[0]].network.config
    labels = [clean(label) for label in first.labels]
    return {
        "schema_version": SCHEMA_VERSION, "title": clean(facts.title(results)),
        "zatlas": files.environment()["zatlas"], "atlas_hash": _atlas_hash(rows, columns, parts),
        "privacy": facts.privacy(
            n=len(first), labels=labels, has_thumbnails=thumbnails is not None, has_originals=originals is not None,
            side_px=shape.size, thumbnail_px=min(THUMBNAIL_PX, shape.size), note=note,
            has_decoder=any(part["decoder"] for part in parts), has_encoder=any(part["encoder"] for part in parts),
        ),
        "images": {
            "n": len(first), "side_px": shape.size, "channels": shape.channels,
            "is_tiled": bool(results.data.is_tiled), "unit": "grey value",
            "scaling": plain(vaes[names[0]].scaling.to_dict()), "display": {"low": limits[0], "high": limits[1]},
        },
        "names": rows, "columns": columns, "thumbnails": thumbnails, "originals": originals, "models": parts,
        "comparison": facts.comparison(results.comparison, names), "run": facts.run(results, names),
        "sources": sources(study, options), "files": dict(sorted(writer.records.items())),
    }  # fmt: skip


def _model(
    writer: Files, name: str, atlas: Atlas, vae: "VAE", results: StudyResults, limits: tuple[float, float],
    options: BundleOptions, talk: Talk,
) -> dict[str, Any]:  # fmt: skip
    progress = talk.on(f"exporting {name}")
    progress(0, 2)
    own = next(model for model in results.models if model.name == name)
    part = model_part(writer, atlas, own, unit=results.data.unit)
    progress(1, 2)
    seed = int(results.config.get("seed", 0))
    part |= networks(
        writer, name, vae.network, atlas.mean, limits, seed=seed, with_encoder=options.with_encoder, say=talk.say
    )
    progress(2, 2)
    return part


def _pictures(
    study: Study, atlas: Atlas, talk: Talk, *, is_wanted: bool
) -> tuple["Tiles | None", tuple[float, float] | None, str]:
    """The tiles of the atlas and the greys shown as black and white; or none, and why, in words."""
    try:
        data = study.data(talk)
        tiles = data.atlas_tiles()
        _check_rows(tiles, atlas)
        return tiles, grey_limits(data.fixed_tiles("train")), ""
    except (DataError, FileAccessError, WriteError) as err:
        log.warning("the explorer is made without the images: %s", err.what)
        if not is_wanted:
            return None, None, ""
        talk.say(f"warning: the explorer shows no pictures, because the images cannot be opened: {err.what}")
        return None, None, "The images of the study were not at hand when it was made, so it holds no pictures of them."


def _check_rows(tiles: "Tiles", atlas: Atlas) -> None:
    """That tile i is atlas row i."""
    table = tiles.table()
    names = [name for name in ("image", "y_px", "x_px") if name in atlas.table]
    if len(table) != len(atlas) or not (table[names].to_numpy() == atlas.table[names].to_numpy()).all():
        raise DataError("the images are not those of the atlas", hint="make the atlas again with zatlas study")


def _measured_limits(results: StudyResults, scaling: Scaling) -> tuple[float, float]:
    """The darkest and brightest pixel of training: a little wider than `grey_limits`, which looks at some images."""
    measured = results.data.statistics.get("training") or results.data.statistics
    low, high = ((float(measured[end]) - scaling.offset) / scaling.factor for end in ("min", "max"))
    return low, high


def _atlas_hash(names: dict[str, Any], columns: list[dict[str, Any]], parts: list[dict[str, Any]]) -> str:
    """Sha256 over the sha256 of names and columns: the same for the same atlases, whatever pictures are inside."""
    entries = [names, *(column["file"] for column in columns)]
    for part in parts:
        entries += [part["mean"], part["log_var"], *(column["file"] for column in part["columns"])]
        entries += [projection["file"] for projection in part["projections"]]
    return hashlib.sha256("".join(entry["sha256"] for entry in entries).encode("ascii")).hexdigest()


def sources(study: Study, options: BundleOptions) -> dict[str, Any]:
    """What a bundle is made from: sha256 of atlases, weights and results, the options, the version of zatlas."""
    names = list(options.models) or study.names
    wanted = [f"atlases/{name}.h5ad" for name in names] + [f"models/{name}/weights.safetensors" for name in names]
    wanted += [f"results/{name}/results.json" for name in (*names, "study/data", "study/comparison")]
    found = {path: files.sha256(study.folder / path) for path in wanted if (study.folder / path).is_file()}
    return {
        "files": found, "zatlas": files.environment()["zatlas"], "models": names,
        "with_originals": options.with_originals, "with_thumbnails": options.with_thumbnails,
        "with_encoder": options.with_encoder,
    }  # fmt: skip


def bundle_of(study: Study, *, models: Sequence[str] = (), with_encoder: bool = True, talk: Talk | None = None) -> Path:
    """The folder of the study's bundle, STUDY/explorer; built when it is not there or not of these atlases.

    Arguments as for `write_bundle`. A study that cannot be written into gets its bundle in a temporary folder, which
    is removed when the process ends.
    """
    talk = talk or Talk()
    options = BundleOptions(models=_chosen(study, models), with_encoder=with_encoder)
    folder = study.folder / FOLDER
    if open_bundle(folder, sources(study, options)) is not None:
        return folder
    if not files.is_writable(study.folder):
        spare = tempfile.mkdtemp(prefix="zatlas-explorer-")
        atexit.register(shutil.rmtree, spare, ignore_errors=True)
        folder = Path(spare) / FOLDER
        talk.say(f"{study.folder} is read-only, so its explorer is built in a temporary folder")
    _write_whole(study, folder, options, talk)
    return folder


def open_bundle(folder: Path, wanted: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The manifest of the bundle in a folder; None where there is none, or one made from other things.

    Args:
        folder: The folder.
        wanted: What it must be made from (`sources`); None takes any.
    """
    try:
        manifest = files.read_json(folder / "manifest.json")
    except (FileAccessError, DataError):
        return None
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        return None
    if wanted is not None and manifest.get("sources") != wanted:
        return None
    is_there = all(_is_of_size(folder, path, record) for path, record in manifest.get("files", {}).items())
    return manifest if is_there else None


def _is_of_size(folder: Path, path: str, record: dict[str, Any]) -> bool:
    file = folder / path
    return file.is_file() and file.stat().st_size == record["bytes"]


def check_bundle(folder: str | Path) -> list[str]:
    """Compare a bundle with its manifest; one line for each file that is missing, changed or not listed.

    Raises:
        FileAccessError: there is no manifest.
        DataError: it is damaged.
    """
    folder = Path(folder)
    records = files.read_json(folder / "manifest.json").get("files", {})
    problems = []
    for path, record in records.items():
        is_inside = not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
        if not is_inside:
            problems.append(f"{path} lies outside the bundle")
        elif not (folder / path).is_file():
            problems.append(f"{path} is missing")
        elif files.sha256(folder / path) != record["sha256"]:
            problems.append(f"{path} was changed after it was written")
    here = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return problems + [f"{path} is not listed" for path in sorted(here - set(records) - {"manifest.json"})]
