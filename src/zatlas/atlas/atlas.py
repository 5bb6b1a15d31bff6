"""The atlas: where every image lies in latent space, and everything known about it, in one table.

An `Atlas` is arrays and a table, no model and no pixels. On disk it is an AnnData file (.h5ad) that scanpy, cellxgene
and squidpy open unchanged; read back it is equal to what was written.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from zatlas import files
from zatlas.atlas import clusters, neighbours, paths, projections
from zatlas.atlas.axes import OWN_COLUMNS, axis_values
from zatlas.atlas.latent_path import LatentPath
from zatlas.atlas.projection import Projection, from_stored, in_order, is_name
from zatlas.errors import DataError, FileAccessError, UsageError

__all__ = ["OWN_COLUMNS", "Atlas"]

log = logging.getLogger(__name__)

_USUAL = ("pca", "tsne")  # made when something asks for them


class Atlas:
    """Posterior means and log-variances of n images or tiles in d latent dimensions, with a table that describes them.

    Args:
        mean: Posterior means, (n, d).
        log_var: Posterior log-variances, (n, d).
        table: One row per image or tile: image (name), image_row (row in the collection), group, split, y_px and x_px
            (top left corner) and size_px of the tile, distortion_nats, rate_nats, psnr_db, cluster, and labels.
        projections: Maps by name, each (n, k).
        info: How maps and regions were made and where the latents come from; what JSON can hold.

    Raises:
        DataError: the parts have different numbers of rows or dimensions.
    """

    def __init__(
        self,
        mean: Float[np.ndarray, "n d"],
        log_var: Float[np.ndarray, "rows dims"],
        table: pd.DataFrame,
        *,
        projections: Mapping[str, np.ndarray] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.mean = np.asarray(mean, np.float32)
        self.log_var = np.asarray(log_var, np.float32)
        self.table = table.reset_index(drop=True)
        self.projections = {name: np.asarray(points, np.float32) for name, points in (projections or {}).items()}
        self.info: dict[str, Any] = dict(info or {})
        n = len(self.mean)
        if self.mean.ndim != 2 or self.log_var.shape != self.mean.shape:
            raise DataError(f"means {self.mean.shape} and log-variances {self.log_var.shape} do not belong together")
        for name, size in {"table": len(table), **{k: len(v) for k, v in self.projections.items()}}.items():
            if size != n:
                raise DataError(f"{name} has {size} rows, expected {n}, one for each latent")

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        made = [*self.projections, *([f"{self.table['cluster'].nunique()} regions"] if "cluster" in self.table else [])]
        lines = [f"Atlas of {len(self)} images or tiles in {self.latent_dim} latent dimensions"]
        lines += [f"  made: {', '.join(made)}"] if made else []
        lines += [f"  groups: {', '.join(self.groups[:12])}{', ...' * (len(self.groups) > 12)}"] if self.groups else []
        lines += [f"  labels: {', '.join(self.labels)}"] if self.labels else []
        return "\n".join(lines)

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions d."""
        return int(self.mean.shape[1])

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, sorted; () when there are none."""
        if "group" not in self.table:
            return ()
        return tuple(sorted({str(name) for name in self.table["group"].dropna()} - {""}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label columns."""
        return tuple(str(name) for name in self.table.columns if name not in OWN_COLUMNS)

    @property
    def cluster(self) -> Int[np.ndarray, " n"]:
        """Number of the region of each image, 0 for the largest.

        Raises:
            UsageError: `kmeans` was not called yet.
        """
        if "cluster" not in self.table:
            raise UsageError("this atlas has no regions yet", hint="call atlas.kmeans() first")
        return self.table["cluster"].astype(str).to_numpy().astype(np.int64)

    def select(self, rows: Int[np.ndarray, " m"]) -> "Atlas":
        """The atlas of some of the rows, maps and regions as they are."""
        table = self.table.iloc[rows]
        maps = {name: points[rows] for name, points in self.projections.items()}
        return Atlas(self.mean[rows], self.log_var[rows], table, projections=maps, info=self.info)

    @property
    def maps(self) -> dict[str, Projection]:
        """The maps in `projections` as they describe themselves, PCA and t-SNE first.

        Left out are those that no map can be: without a proper name (letters, digits, underscores), not finite, empty.
        """
        usable = [name for name, points in self.projections.items() if is_name(name) and _is_map(points, len(self))]
        return {name: from_stored(name, self.projections[name], self.info.get(name)) for name in in_order(usable)}

    def add(self, projection: Projection, seed: int = 0) -> Projection:
        """Take in a map, and measure how far it can be trusted.

        Args:
            projection: Its points go to `projections`, its facts to `info`, both under its name; one of the same name
                is replaced.
            seed: Of the sample that is asked when there are many images.

        Returns:
            The map with trustworthiness and continuity among its facts.

        Raises:
            DataError: it is not of these images, or not finite.
            UsageError: its name cannot be that of a map, or JSON cannot hold its facts.
        """
        name, points = projection.name, np.asarray(projection.points)
        if not is_name(name):
            raise UsageError(f"a map cannot be called {name!r}", hint="use letters, digits and underscores: my_map")
        if not _is_map(points, len(self)):
            raise DataError(f"the map {name} has points {points.shape}, expected finite numbers ({len(self)}, k)")
        try:
            _json(projection.facts)
        except TypeError as err:
            raise UsageError(f"the facts of the map {name} cannot be stored: {err}", hint="keep numbers, text") from err
        return self._keep(projections.measured(projection, self.mean, seed))

    def _keep(self, projection: Projection) -> Projection:
        self.projections[projection.name] = np.asarray(projection.points, np.float32)
        self.info[projection.name] = projection.stored()
        return projection

    def project(self, method: str | Callable[..., Projection], seed: int = 0, **settings: Any) -> Projection:
        """Make a map of the posterior means and take it in.

        Args:
            method: A name in `projections.METHODS` ("tsne"), or your own function `f(latents, seed) -> Projection`.
            seed: Of its draws.
            **settings: Further arguments of the method, by name.

        Returns:
            The map with trustworthiness and continuity among its facts.

        Raises:
            UsageError: there is no such method, it needs a package that is not installed, or gives something else.
            DataError: there are too few images, or the map is not finite.

        Example:
            >>> table = pd.DataFrame({"image": list("abcdef")})
            >>> atlas = Atlas(np.eye(6, 3), np.zeros((6, 3)), table)
            >>> first_two = lambda latents, seed: Projection("first_two", "First two", latents[:, :2])
            >>> atlas.project(first_two).title, list(atlas.maps)
            ('First two', ['first_two'])
        """
        if isinstance(method, str) and method not in projections.METHODS:
            raise UsageError(f"there is no map {method!r}", hint=f"choose one of: {', '.join(projections.METHODS)}")
        function = projections.METHODS[method] if isinstance(method, str) else method
        made = function(self.mean, seed, **settings)
        if not isinstance(made, Projection):
            raise UsageError(f"a map must be a Projection, the function gave {type(made).__name__}")
        return self.add(replace(made, facts={**made.facts, "seed": seed}), seed)

    def pca(self, n: int = 0) -> projections.Pca:
        """Principal components of the posterior means; scores go to `projections["pca"]`.

        How much they keep is known from their variances, so that trust is not measured; `project("pca")` does.

        Args:
            n: How many components to keep; 0 keeps all.
        """
        found = projections.fit_pca(self.mean, n)
        self._keep(projections.principal_map(self.mean, found))
        return found

    def tsne(self, seed: int = 0, perplexity: float = 0.0) -> Projection:
        """A t-SNE map of the posterior means; positions go to `projections["tsne"]`.

        Args:
            seed: Of the little noise at the start.
            perplexity: 0 takes 30, or a third of the images when they are fewer than 91.
        """
        return self.project("tsne", seed, perplexity=perplexity)

    def complete_maps(self, seed: int = 0, perplexity: float = 0.0) -> None:
        """Make PCA and t-SNE where they are missing; measure the maps of other tools, of which nothing is known."""
        if "pca" not in self.projections:
            self.pca()
        if "tsne" not in self.projections:
            self.tsne(seed, perplexity)
        for one in self.maps.values():
            if not one.has_inverse and "trustworthiness" not in one.facts:
                self.add(one, seed)

    def kmeans(self, k: int = 0, seed: int = 0) -> clusters.Clusters:
        """Divide the latent space into regions; their numbers go to `table["cluster"]` as categories "0", "1", ...

        Args:
            k: Number of regions; 0 chooses it by stability.
            seed: Of starts and samples.
        """
        found = clusters.kmeans(self.mean, k, seed=seed)
        names = [str(number) for number in range(found.k)]
        self.table["cluster"] = pd.Categorical.from_codes(found.labels, categories=pd.Index(names))
        self.info["clusters"] = found.summary() | {"seed": seed}
        return found

    def members(self, count: int = 8, seed: int = 0) -> list[clusters.Members]:
        """Central, random and borderline rows of each region."""
        return clusters.members(self.mean, self.cluster, count=count, seed=seed)

    def neighbours(self, k: int = 8) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
        """Rows and distances of the k nearest images of each image in latent space, nearest first, itself left out."""
        return neighbours.nearest_neighbours(self.mean, k)

    def axis(self, name: str) -> tuple[str, str, Float[np.ndarray, " n"]]:
        """The name of an axis as it is shown, its kind (a map, "latent", "label"), each image's value on it.

        Args:
            name: "PC1", "TSNE2", "UMAP1" or the like for a map, "z0" or a numeric column of the table; PCA and t-SNE
                are made when missing.

        Raises:
            UsageError: there is no such axis.
        """
        maps = self.maps
        families = {from_stored(name, np.zeros((0, 0))).stem: name for name in _USUAL}
        families |= {one.stem: name for name, one in maps.items()}
        families = {one.title: name for name, one in maps.items()} | families
        return axis_values(name, self.mean, self.table, families, self._map)

    def _map(self, name: str) -> Projection:
        if name not in self.projections:
            getattr(self, name)()
        return self.maps[name]

    def path(
        self, axis: str | tuple[int, int], points: int = 7, kind: str = "straight", *, unit: float = 0.0
    ) -> LatentPath:
        """A path through latent space between two real images.

        Args:
            axis: "PC1", "TSNE2", "z0" or a numeric column (see `axis`): from the image lowest on it to the highest; or
                two rows.
            points: Interior points.
            kind: "straight" or "spherical".
            unit: The `paths.spacing` of the atlas, where it is known already; 0 computes it.

        Raises:
            UsageError: there is no such axis or row, or all images have the same value on it.
        """
        table = self.table
        images = [str(name) for name in table["image"]] if "image" in table else [str(row) for row in range(len(table))]
        if isinstance(axis, tuple):
            return paths.path_between(self.mean, axis, points, images=images, kind=kind, unit=unit)
        name, axis_kind, values = self.axis(axis)
        rows = paths.extremes(self.mean, values, name)
        note = self.maps[axis_kind].path_note if axis_kind in self.maps else ""
        return paths.path_between(
            self.mean, rows, points, images=images, axis=(name, axis_kind), kind=kind, unit=unit, note=note
        )

    def to_anndata(self) -> anndata.AnnData:
        """As AnnData: X, layers["log_var"], obs, obsm X_<map> and spatial (x, y of tile centres), uns["zatlas"].

        Text becomes categories, characters that HDF5 cannot have in a name become "_"; `uns["zatlas"]["columns"]`
        remembers what was there.
        """
        columns = _stored_columns(self.table)
        stored = {entry["key"]: _stored(self.table[entry["name"]]) for entry in columns}
        obs = pd.DataFrame(stored, index=pd.Index(_row_names(self.table)))
        maps = {f"X_{name}": points for name, points in self.projections.items()}
        if {"y_px", "x_px"} <= set(self.table):
            maps["spatial"] = _centres(self.table)
        plain = [{**entry, "name": str(entry["name"])} for entry in columns]
        about = {"schema_version": files.SCHEMA_VERSION, "info": _json(self.info), "columns": _json(plain)}
        return anndata.AnnData(
            X=self.mean.copy(),
            obs=obs,
            var=pd.DataFrame(index=pd.Index([f"z{j}" for j in range(self.latent_dim)])),
            layers={"log_var": self.log_var.copy()},
            obsm=maps,
            uns={"zatlas": about},
        )

    @classmethod
    def from_anndata(cls, adata: anndata.AnnData) -> "Atlas":
        """The atlas that an AnnData of zatlas holds, also after other tools have added to it.

        Raises:
            DataError: it was not made by zatlas, or by a newer one.
        """
        about = adata.uns.get("zatlas")
        if about is None or adata.X is None or "log_var" not in adata.layers:
            raise DataError("this AnnData is not an atlas of zatlas", hint="make one with zatlas embed STUDY")
        if int(about["schema_version"]) > files.SCHEMA_VERSION:
            raise DataError("this atlas was made by a newer zatlas", hint="update zatlas")
        records = {entry["key"]: entry for entry in json.loads(str(about["columns"]))}
        restored = {
            records.get(key, {}).get("name", key): _restored(adata.obs[key], records.get(key, {}).get("dtype", ""))
            for key in adata.obs.columns
        }
        table = pd.DataFrame(restored, index=pd.RangeIndex(adata.n_obs))
        maps = {
            key.removeprefix("X_"): np.asarray(points) for key, points in adata.obsm.items() if key.startswith("X_")
        }
        return cls(
            np.asarray(adata.X), np.asarray(adata.layers["log_var"]), table, projections=maps,
            info=json.loads(str(about["info"])),
        )  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Write the atlas as an .h5ad file, whole or not at all.

        Raises:
            WriteError: the folder cannot be written.
        """
        target = Path(path)
        with files.new_file(target) as temporary:
            self.to_anndata().write_h5ad(temporary)
        return target

    @classmethod
    def load(cls, path: str | Path) -> "Atlas":
        """Read an .h5ad file that `save` has written.

        Raises:
            FileAccessError: there is no such file.
            DataError: it is damaged, or no atlas.
        """
        source = Path(path)
        if not source.is_file():
            raise FileAccessError(f"there is no atlas {source.name}", where=str(source.parent))
        try:
            with h5py.File(source) as file:
                if file.attrs.get("encoding-type") != "anndata":
                    raise ValueError("it is an HDF5 file of another kind")
            return cls.from_anndata(anndata.read_h5ad(source))
        except (OSError, KeyError, TypeError, ValueError) as err:
            raise DataError(
                f"{source.name} is damaged or not an .h5ad file: {err}",
                where=str(source.parent),
                hint="remove it and run zatlas embed again",
            ) from err


def _is_map(points: np.ndarray, n: int) -> bool:
    if points.ndim != 2 or len(points) != n or points.size == 0 or points.dtype.kind not in "fiu":
        return False
    return bool(np.isfinite(points).all())


def _stored_columns(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Name, key in the file and dtype of every column; keys are unique and legal in HDF5."""
    taken: set[str] = set()
    columns = []
    for name in table.columns:
        key = str(name).replace("/", "_").replace("\0", "_")
        key = {"_index": "index_", "": "unnamed", ".": "dot"}.get(key, key)
        wanted, number = key, 2
        while key in taken:
            key, number = f"{wanted}_{number}", number + 1
        taken.add(key)
        columns.append({"name": name, "key": key, "dtype": str(table[name].dtype)})
    return columns


def _stored(column: Any) -> Any:
    """A column as AnnData writes it without complaint: numbers and booleans as they are, the rest as categories."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        if column.cat.categories.inferred_type in ("string", "integer", "floating", "empty"):
            return column.array
        return column.cat.rename_categories([str(category) for category in column.cat.categories]).array
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.array
    is_there = column.notna()
    inferred = pd.api.types.infer_dtype(column[is_there])
    if column.dtype == object and inferred == "boolean":
        return column.where(is_there, None).astype("boolean").array
    if column.dtype == object and inferred in ("integer", "floating", "mixed-integer-float"):
        return column.astype(float).array
    return pd.Categorical([str(value) if known else None for value, known in zip(column, is_there, strict=True)])


def _restored(column: Any, dtype: str) -> Any:
    """A column with the dtype that it had in the table; unknown ones as they are."""
    if dtype in ("", "category", str(column.dtype)):
        return column.array
    values = column.astype(object)
    if dtype == "object":
        return values.where(column.notna(), np.nan).array
    if dtype.startswith("datetime"):
        return pd.to_datetime(values).astype(dtype).array
    if dtype.startswith("timedelta"):
        return pd.to_timedelta(values).astype(dtype).array
    return values.astype(dtype).array if dtype in ("string", "str") else column.array


def _row_names(table: pd.DataFrame) -> list[str]:
    """A unique name for each row: the image, with the tile's corner where an image has several."""
    if "image" not in table:
        return [str(row) for row in range(len(table))]
    names = table["image"].astype(str)
    if names.duplicated().any() and {"y_px", "x_px"} <= set(table):
        names = names + "_y" + table["y_px"].astype(str) + "_x" + table["x_px"].astype(str)
    if names.duplicated().any():
        names = names + "_" + pd.Series(range(len(table))).astype(str)
    return names.tolist()


def _centres(table: pd.DataFrame) -> np.ndarray:
    """Centres of the tiles in their images, x before y as squidpy has it [px]."""
    corners = table[["x_px", "y_px"]].to_numpy(np.float64)
    half = table["size_px"].to_numpy(np.float64)[:, None] / 2 if "size_px" in table else 0.0
    return np.asarray(corners + half)


def _json(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    """Plain Python for JSON: numpy numbers and arrays unpacked, numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
