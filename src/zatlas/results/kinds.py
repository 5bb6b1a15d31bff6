"""What is known about the models of a study: all numbers, tables and example images that the report shows.

The report is made from these alone, without images or models, so that it can be drawn again anywhere. Every array of
images is float32 of shape (..., c, h, w) on one grey scale: 0 is the darkest, 1 the brightest grey of the training
pixels. Rows are rows of the model's atlas, unless the name says otherwise. Each kind saves itself into a folder
(results.json, arrays.npz: no pickle) and loads itself back.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from zatlas.atlas.latent_path import LatentPath
from zatlas.atlas.projection import Projection
from zatlas.errors import DataError
from zatlas.model.prior_words import STANDARD
from zatlas.results.maps import maps_of
from zatlas.results.records import read_record, write_record

__all__ = [
    "OWN",
    "Comparison",
    "DataSummary",
    "Finding",
    "Gallery",
    "ModelResults",
    "Reconstructions",
    "Samples",
    "StudyResults",
    "Traversal",
    "Walk",
]

OWN = "own"
"""The prior that the model was trained with, among those fitted after it."""

Kind = TypeVar("Kind")


class _Saved:
    """Saving to and loading from a folder, the same for every kind of result."""

    def save(self, folder: str | Path) -> None:
        """Write results.json and arrays.npz into `folder`, whole or not at all.

        Raises:
            WriteError: the folder cannot be written.
        """
        write_record(self, Path(folder))

    @classmethod
    def load(cls: type[Kind], folder: str | Path) -> Kind:
        """Read what `save` wrote.

        Raises:
            FileAccessError: there is nothing to read.
            DataError: the files are damaged, or hold another kind of result.
        """
        found = read_record(Path(folder), _KINDS)
        if not isinstance(found, cls):
            raise DataError(
                f"the folder holds {type(found).__name__}, expected {cls.__name__}",
                where=str(folder),
                hint="remove it and run zatlas study again",
            )
        return found


@dataclass(kw_only=True)
class Gallery(_Saved):
    """Example images of one cluster.

    Attributes:
        cluster: Number of the cluster.
        size: Images in it.
        share: Share of all images, 0 to 1.
        central: Rows nearest to the centroid, (m,).
        random: Rows drawn by chance, (m,).
        borderline: Rows nearest to another cluster, (m,).
        images: (m, c, h, w) for each of "central", "random", "borderline".
    """

    cluster: int
    size: int
    share: float
    central: np.ndarray
    random: np.ndarray
    borderline: np.ndarray
    images: dict[str, np.ndarray]


@dataclass(kw_only=True)
class Walk(LatentPath, _Saved):
    """A path through latent space from one real image to another, decoded.

    Attributes:
        frames: Decoded interior points, (p, c, h, w).
        end_originals: The two images, (2, c, h, w).
        end_reconstructions: The two images through the model, (2, c, h, w).
        features: One row for each of the p + 2 decoded images, one column per feature.
        changes: Features that change much, largest ratio first: feature, words, start, end, change, spread (standard
            deviation over the real images, with the decoder's own error in it), ratio (|change| / spread), monotone
            (rank correlation with the position), direction, text.
    """

    frames: np.ndarray
    end_originals: np.ndarray
    end_reconstructions: np.ndarray
    features: pd.DataFrame = field(default_factory=pd.DataFrame)
    changes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Traversal(_Saved):
    """One latent dimension varied, the others held at their mean.

    Attributes:
        dim: Number of the dimension.
        rate_nats: Its rate [nats per image].
        values: Positions in standard deviations of the aggregate posterior along the dimension, (k,).
        frames: Decoded images, (k, c, h, w).
    """

    dim: int
    rate_nats: float
    values: np.ndarray
    frames: np.ndarray


@dataclass(kw_only=True)
class Samples(_Saved):
    """New images from a density fitted to the training latents, from the prior, and from priors fitted after training.

    Attributes:
        z: Latents drawn from the fitted density, (n, d).
        frames: Decoded, (n, c, h, w).
        nearest_rows: Atlas row of the training image nearest to each in latent space, (n,).
        nearest_images: Those images, (n, c, h, w).
        nearest_distance: Latent distance to them, (n,).
        density: kind, n_components, heldout_loglik [nats per image], trials (DataFrame).
        prior_frames: Images decoded from draws of the prior that the model was trained with, (n, c, h, w).
        mismatch: kl_nats (aggregate posterior from N(0, I); not a number for another prior) and auc (of a classifier
            between latents and draws of the model's own prior), of training latents.
        priors: The model's own prior and those fitted to its training latents, judged on test latents: name, words,
            when ("with" or "after" training), validation_rate_nats, rate_nats, auc, n (may be empty).
        strips: A few images decoded from draws of each, by name, (m, c, h, w) (may be empty).
    """

    z: np.ndarray
    frames: np.ndarray
    nearest_rows: np.ndarray
    nearest_images: np.ndarray
    nearest_distance: np.ndarray
    density: dict[str, Any]
    prior_frames: np.ndarray
    mismatch: dict[str, float]
    priors: pd.DataFrame = field(default_factory=pd.DataFrame)
    strips: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(kw_only=True)
class Reconstructions(_Saved):
    """Test images through the model and through PCA of the same size.

    Attributes:
        rows: Rows of the test tiles (not of the atlas), (n,).
        images: Names of the images.
        originals, reconstructions, pca: (n, c, h, w) each.
        table: image, psnr_db, ssim, pca_psnr_db, pca_ssim.
    """

    rows: np.ndarray
    images: list[str]
    originals: np.ndarray
    reconstructions: np.ndarray
    pca: np.ndarray
    table: pd.DataFrame


@dataclass(kw_only=True)
class ModelResults(_Saved):
    """Everything the report says about one model.

    Attributes:
        name: Such as "z16", or as the study calls it.
        latent_dim: Number of latent dimensions d.
        likelihood: "bernoulli" or "gaussian".
        beta: Weight of the rate in the objective.
        n_parameters: Trained numbers of the network.
        history: Training history, one row per epoch (may be empty).
        metrics: Index part (train, validation, test); columns distortion_nats, rate_nats, elbo_nats, psnr_db,
            psnr_sd, ssim, pca_psnr_db, pca_ssim, n, and those of `trust.gains.gains`: what the model gains over PCA in
            three measures, with intervals (not in studies of 0.1.0).
        rate_per_dim: Mean rate of each dimension [nats per image], (d,); for a prior that has none by dimension,
            against the Gaussian of all latents along it (`trust.dimensions.information_per_dim`).
        is_active: Whether the dimension carries information (variance of its mean above 0.01), (d,).
        effective_beta: Weight of the rate relative to a calibrated noise level.
        forecast_active_dims: Active dimensions that the PCA spectrum of the training tiles predicts.
        reconstructions: Test images beside their reconstructions.
        galleries: One per cluster.
        cluster_info: k, silhouette, stability, verdict, text and tables (dict of DataFrames: clusters by group and by
            categorical label, and `numeric`, means of numeric labels per cluster).
        walks, traversals, samples: See there.
        projections: One row per atlas row: row, image, group, split, cluster, the first two axes of every map (pc1,
            pc2, ...), labels, psnr_db, rate_nats.
        projection_info: Facts of the maps as they are stored; `maps` reads both.
        probes: label, kind, score_latents, score_histogram, score_pca, n, metric, grouped, null, by (what folds keep
            together), unit ("image", features averaged over its tiles, or "tile").
        neighbours: query_rows (q,), query_images (q, c, h, w), neighbour_rows (q, k), neighbour_images
            (q, k, c, h, w), distances (q, k).
        prior: Name of the prior it was trained with.
        n_local: Local latents of each image beside z; 0 for a network without.
        amortisation: What refining the latents of a few test images gains (`trust.amortisation.amortisation_gap`), with
            `steps`, `part` and `by`; {} where it was not measured.
        invariance: How far shifts of a few test tiles move latents, PCA scores and grey histograms
            (`results.invariance.measured_invariance`); {} where it was not measured, as of whole images.
        pca_facts: How the PCA beside the model came about: n_draws (images shown to it, repeats counted),
            is_augmented, is_settled (whether more would hardly help), draws and validation_db (where that was looked
            at, and the mean PSNR there), unit ("group" or "image", over which intervals are). Empty in studies of
            0.1.0.
        kept_epoch: The epoch whose weights are kept; 0: those that training began with, which no epoch beat on the
            validation part. None where it is not known.
    """

    name: str
    latent_dim: int
    likelihood: str
    beta: float
    n_parameters: int
    history: pd.DataFrame
    metrics: pd.DataFrame
    rate_per_dim: np.ndarray
    is_active: np.ndarray
    effective_beta: float
    forecast_active_dims: int | None
    reconstructions: Reconstructions
    galleries: list[Gallery]
    cluster_info: dict[str, Any]
    walks: list[Walk]
    traversals: list[Traversal]
    samples: Samples
    projections: pd.DataFrame
    projection_info: dict[str, Any]
    probes: pd.DataFrame
    neighbours: dict[str, Any]
    prior: str = STANDARD
    n_local: int = 0
    amortisation: dict[str, Any] = field(default_factory=dict)
    invariance: dict[str, Any] = field(default_factory=dict)
    pca_facts: dict[str, Any] = field(default_factory=dict)
    kept_epoch: int | None = None

    @property
    def maps(self) -> list[Projection]:
        """The maps with their first two axes, those with an inverse and the usual ones first."""
        return maps_of(self.projections, self.projection_info)

    @property
    def cell(self) -> str:
        """What a cell of k-means is called: "cluster" when that is the verdict, else "region" (of a continuum)."""
        return "cluster" if self.cluster_info.get("verdict") == "clusters" else "region"


@dataclass(kw_only=True)
class Comparison(_Saved):
    """The models of a study side by side.

    Attributes:
        table: One row per model: name, latent_dim, test_distortion_nats, test_rate_nats, test_elbo_nats, test_psnr_db,
            test_ssim, test_pca_psnr_db, active_dims, effective_beta, k, silhouette, mismatch_kl_nats, mismatch_auc, ...
        cluster_matches: For each pair of models: a, b, ari, share, mapping (cluster of a -> cluster of b).
        neighbour_overlap: Mean share of common nearest neighbours, model x model.
        map_similarity: One row per pair: a, b, `<map>_procrustes` for each map without an inverse (0 different, 1
            alike after turning and scaling), distance_correlation (Spearman, of latent distances), chance_overlap,
            overlap_images (whose neighbours were compared, among all).
    """

    table: pd.DataFrame
    cluster_matches: list[dict[str, Any]]
    neighbour_overlap: pd.DataFrame
    map_similarity: pd.DataFrame


@dataclass(kw_only=True)
class DataSummary(_Saved):
    """The images of a study.

    Attributes:
        name: Name of the data.
        n_images: Images used.
        n_rejected: Damaged files set aside.
        channels: Channels of each image.
        dtype: Type of the pixels on disk.
        sizes: quantity ("height", "width"), min, median, max [px].
        groups: group, images, pixels, mean, std, train, validation, test (numbers of images); one row for the
            whole collection when there are no groups.
        split_counts: Images of "train", "validation", "test".
        split_reason: By what the split was made, in words.
        warnings: What a reader must know about the data or the split.
        statistics: Pooled min, max, mean, std, count (and groups, training) as in stats.json.
        contact_sheet: Example images, (n, c, h, w).
        contact_ids: Their names.
        tile_examples: Training tiles as the model sees them, (n, c, h, w); none for whole images.
        scaling: How greys were scaled, in words.
        histogram_edges: Edges of the grey histograms in pixel units, (k + 1,).
        histograms: Share of pixels per bin for each group (or "all"), (k,) each.
        side_px: Side of what the model sees [px].
        is_tiled: Whether tiles are cut (else whole images are resized).
        sampler: "whole", "by_pixel" or "equal".
        labels: Names of the label columns.
        notes: Further facts to print (suggested hold-out, format read).
        image_table: One row per image: image, group, height, width (may be empty).
        extremes: Largest and smallest image of each group: group, kind ("largest", "smallest"), image, height, width
            (may be empty).
        extreme_images: Their thumbnails in the same order, each (c, h, w) of its own shape.
    """

    name: str
    n_images: int
    n_rejected: int
    channels: int
    dtype: str
    sizes: pd.DataFrame
    groups: pd.DataFrame
    split_counts: dict[str, int]
    split_reason: str
    warnings: list[str]
    statistics: dict[str, Any]
    contact_sheet: np.ndarray
    contact_ids: list[str]
    tile_examples: np.ndarray
    scaling: str
    histogram_edges: np.ndarray
    histograms: dict[str, np.ndarray]
    side_px: int = 0
    is_tiled: bool = False
    sampler: str = ""
    labels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    image_table: pd.DataFrame = field(default_factory=pd.DataFrame)
    extremes: pd.DataFrame = field(default_factory=pd.DataFrame)
    extreme_images: list[np.ndarray] = field(default_factory=list)

    @property
    def unit(self) -> str:
        """What a model sees: a "tile" of an image, or an "image"."""
        return "tile" if self.is_tiled else "image"


@dataclass(kw_only=True)
class Finding(_Saved):
    """One paragraph of the report, written from numbers.

    Attributes:
        section: Where it stands.
        question: The question that it answers.
        text: The answer; states its numbers and never more than they say.
        numbers: The numbers in it.
    """

    section: str
    question: str
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class StudyResults:
    """All results of a study.

    Attributes:
        data: The images.
        models: In the order of the study.
        comparison: The models side by side.
        config: The study's configuration as nested dictionaries.
        provenance: Command, versions, seed, fingerprint of the images, choices made in training.
    """

    data: DataSummary
    models: list[ModelResults]
    comparison: Comparison
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def is_by_size(self) -> bool:
        """Whether the models differ in their latent size alone, as those of `--latent-dim 4 16 32` do."""
        own = {key for model in self.config.get("models", []) for key in model} - {"name", "latent_dim"}
        sizes = {model.latent_dim for model in self.models}
        return len(self.models) < 2 or (not own and len(sizes) == len(self.models))

    @property
    def settings(self) -> dict[str, Any]:
        """`config` for tables of settings: each of the named models is a section of its own, such as models.beta4."""
        own = {f"models.{model['name']}": model for model in self.config.get("models", [])}
        return {name: value for name, value in self.config.items() if name != "models"} | own


_KINDS = {
    kind.__name__: kind
    for kind in (Comparison, DataSummary, Finding, Gallery, ModelResults, Reconstructions, Samples, Traversal, Walk)
}
