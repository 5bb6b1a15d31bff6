"""A study folder: its configuration, trained models, atlases and results. `run` fills it."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from zatlas import files
from zatlas.config import (
    ModelSpec,
    StudyConfig,
    from_toml,
    to_dict,
    with_input_paths,
)
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.progress import Talk
from zatlas.results.kinds import Comparison, DataSummary, ModelResults, StudyResults
from zatlas.studies.data import (
    StudyData,
    locate,
    open_collection,
    prepare,
    relative_input,
)
from zatlas.trust.gains import GAINS
from zatlas.vae import VAE, load

if TYPE_CHECKING:
    from zatlas.atlas.atlas import Atlas
else:
    Atlas = Any

__all__ = ["Study", "made_from"]

_HEADLINE = ("test_distortion_nats", "test_rate_nats", "test_psnr_db", "test_pca_psnr_db", "active_dims")
_WHERE_KNOWN = (
    *(f"test_{name}gain_{end}db" for name in GAINS for end in ("", "low_", "high_")),
    "test_n_empty", "test_n_groups", "n_local",
)  # fmt: skip


class Study:
    """A study folder: its configuration, trained models, atlases and results.

    Args:
        folder: A folder that `zatlas study` has written, anywhere, also read-only.
        networks: For models that were trained with networks of your own: by the name of each model, a torch module of
            the same shape. No file names code.

    Raises:
        DataError: the folder holds no study.
        UsageError: the study has no model of a name in `networks`.
    """

    def __init__(self, folder: str | Path, *, networks: Mapping[str, nn.Module] | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / "study.toml").is_file():
            raise DataError(
                f"{self.folder} is not a study: it holds no study.toml", hint="zatlas study IMAGES -o STUDY"
            )
        self.config: StudyConfig = from_toml(self.folder / "study.toml")
        self.networks = {self.name(name): module for name, module in (networks or {}).items()}

    def __repr__(self) -> str:
        return f"Study({self.folder.name}: {', '.join(self.names)}, {self.state})"

    @property
    def names(self) -> list[str]:
        """Names of the models, such as z4, z16, z32, in the order of the study."""
        return [spec.name for spec in self.config.model_specs]

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
        for candidate in (wanted, f"z{wanted}"):
            if candidate in self.names:
                return candidate
        close = difflib.get_close_matches(wanted, self.names, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"this study has no model {wanted}", hint=f"{meant}its models are {', '.join(self.names)}")

    def spec(self, name: str = "") -> ModelSpec:
        """What a model is trained with: its options and its seed."""
        wanted = self.name(name)
        return next(spec for spec in self.config.model_specs if spec.name == wanted)

    def vae(self, name: str = "") -> VAE:
        """A trained model.

        Raises:
            UsageError: the study has no such model, or its network is one of your own and was not given.
        """
        wanted = self.name(name)
        return load(self.folder / "models" / wanted, network=self.networks.get(wanted))

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
        if not made_from(self.folder, collection):
            raise DataError("these are not the images that the study was made from", hint="give the original images")
        return prepare(config, collection, self.folder, talk or Talk())

    def config_as_given(self) -> StudyConfig:
        """The configuration with input paths that can be opened from the working folder."""
        return with_input_paths(self.config, lambda path: str(locate(path, self.folder)))

    def headline(self) -> dict[str, dict[str, float]]:
        """The few numbers of each model that say most, from the comparison of the finished study."""
        table = self.results().comparison.table
        wanted = [name for name in table.columns if name in _HEADLINE]
        some = [name for name in table.columns if name in _WHERE_KNOWN]  # of one group there is no interval
        return {
            str(row["name"]): {k: float(row[k]) for k in wanted}
            | {k: float(row[k]) for k in some if math.isfinite(float(row[k]))}
            for _, row in table.iterrows()
        }

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
        provenance = files.read_json(overall / "provenance.json")
        for model in models:
            model.kept_epoch = provenance.get("training", {}).get(model.name, {}).get("best_epoch")
        return StudyResults(
            data=DataSummary.load(overall / "data"), models=models, comparison=Comparison.load(overall / "comparison"),
            config=to_dict(self.config), provenance=provenance,
        )  # fmt: skip


def made_from(folder: Path, collection: Collection) -> bool:
    """Whether these are the images that the study was made from; true as long as it has none."""
    record = folder / "data" / "data.json"
    return not record.is_file() or bool(files.read_json(record)["fingerprint"] == collection.fingerprint())
