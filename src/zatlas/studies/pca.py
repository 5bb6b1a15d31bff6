"""The PCA of a study: fitted once, at its largest latent size, and kept in STUDY/pca.safetensors.

Models with a linear path begin at it, and every model is compared with it, each at as many components as it has latent
dimensions. It is fitted when it is first needed; whoever asks later, or goes on with the study, gets the same bits.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from zatlas import files
from zatlas.config import to_dict
from zatlas.errors import Interrupted
from zatlas.progress import Talk
from zatlas.studies.data import PCA_TILES, VALIDATION_TILES, StudyData
from zatlas.tiles.greys import grey_limits
from zatlas.tiles.pixel_pca import PixelPca
from zatlas.training.linear import PcaTrail, SettledPca, SettledPcas, fit_settled_pcas
from zatlas.training.start import on_scale_of_network

__all__ = ["StudyPca", "study_pca"]

log = logging.getLogger(__name__)

_FIT = 1  # raised when draws, their variations or the rule of enough of them change


@dataclass(frozen=True)
class StudyPca:
    """PCA of the training images as they are shown, from 0 to 1.

    Attributes:
        fits: For all latent sizes of the study.
        limits: What is shown as black and as white on the scale of the networks.
    """

    fits: SettledPcas
    limits: tuple[float, float]

    def beside(self, latent_dim: int) -> SettledPca:
        """What a model of so many dimensions is compared with."""
        return self.fits.at(latent_dim)

    def start(self, latent_dim: int) -> PixelPca:
        """At which a model of so many dimensions begins: the same, on the scale of its network."""
        return on_scale_of_network(self.beside(latent_dim).pca, self.limits)


def study_pca(data: StudyData, study: Path, talk: Talk) -> StudyPca:
    """The PCA that the study holds; fitted and kept first where there is none, or one of other images or settings.

    Args:
        data: The data of the study.
        study: Its folder.
        talk: Where progress goes.

    Raises:
        Interrupted: the person asked to stop while it was fitted.
        WriteError: the folder cannot be written.
    """
    sizes = sorted({spec.latent_dim for spec in data.config.model_specs})
    path, wanted = study / "pca.safetensors", _inputs(data, sizes[-1])
    limits = grey_limits(data.fixed_tiles("train", most=PCA_TILES))
    validation = data.fixed_tiles("validation", most=VALIDATION_TILES)
    kept = _load(path, wanted)
    if kept is None:
        talk.say(f"fitting {sizes[-1]} principal components, with which models begin and are compared")
        fits = fit_settled_pcas(
            data.training_tiles(), validation, sizes, seed=data.config.seed, jitter=data.config.train.jitter,
            limits=limits, on_progress=_progress(talk),
        )  # fmt: skip
    else:
        fits = kept.looked_at(sizes, validation, limits)
    if fits is not kept:
        _save(path, fits, wanted)
    return StudyPca(fits, limits)


def _progress(talk: Talk) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        talk.progress("fitting principal components", done, total)
        if talk.stop_requested():
            raise Interrupted("fitting principal components was stopped", hint="the same command fits them and goes on")

    return tell


def _inputs(data: StudyData, largest: int) -> dict[str, Any]:
    """What the PCA follows from; JSON types only."""
    config = data.config
    return {
        "schema_version": files.SCHEMA_VERSION,
        "images": data.fingerprint,
        "split": hashlib.sha256("\n".join(data.split.part.tolist()).encode()).hexdigest(),
        "tiles": to_dict(config.tiles),
        "jitter": config.train.jitter,
        "seed": config.seed,
        "components": largest,
        "fit": _FIT,
    }


def _save(path: Path, fits: SettledPcas, inputs: Mapping[str, Any]) -> None:
    tensors: dict[str, np.ndarray] = {}
    facts = []
    for number, trail in enumerate(fits.trails):
        pca = trail.pca
        arrays = {"mean": pca.mean, "components": pca.components, "variance": pca.variance, "db": trail.validation_db}
        tensors |= {f"{number}.{name}": np.ascontiguousarray(values) for name, values in arrays.items()}
        facts.append(
            {
                "is_augmented": trail.is_augmented, "is_settled": trail.is_settled, "sizes": trail.sizes,
                "draws": trail.draws, "left_out": pca.left_out, "n": pca.n,
            }
        )  # fmt: skip
    record = {"inputs": inputs, "facts": facts, "sha256": _digest(tensors)}
    metadata = {"zatlas": json.dumps(record)}  # one entry: several come in any order
    with files.new_file(path) as temporary:
        safetensors.numpy.save_file(tensors, temporary, metadata=metadata)
        temporary.chmod(0o644)  # safetensors leaves a file that nobody else can read


def _load(path: Path, inputs: Mapping[str, Any]) -> SettledPcas | None:
    """What was kept, if it follows from these inputs."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as stored:
            known = json.loads((stored.metadata() or {})["zatlas"])
            if known["inputs"] != json.loads(json.dumps(inputs)):
                return None
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        if _digest(tensors) != known["sha256"]:
            raise ValueError("its numbers are not those that were written")
        return SettledPcas(tuple(_trail(tensors, i, facts) for i, facts in enumerate(known["facts"])))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as err:
        log.warning("%s is damaged (%s) and is made again", path.name, err)
        return None


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Of all numbers: safetensors itself looks at lengths alone."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(np.ascontiguousarray(tensors[name]).tobytes())
    return found.hexdigest()


def _trail(tensors: Mapping[str, np.ndarray], number: int, facts: Mapping[str, Any]) -> PcaTrail:
    mean, components, variance, db = (tensors[f"{number}.{n}"] for n in ("mean", "components", "variance", "db"))
    pca = PixelPca(mean, components, variance, facts["left_out"], facts["n"])
    return PcaTrail(pca, facts["is_augmented"], facts["is_settled"], tuple(facts["sizes"]), tuple(facts["draws"]), db)
