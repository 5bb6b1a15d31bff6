"""Images for results: tiles and decoded latents on the one grey scale that the report shows.

`View` holds the network and reads tiles; what it returns is float32 on 0..1, where 0 is the darkest and 1 the brightest
grey of the training pixels. The functions below fill the pictures of `results`, a small batch in memory at a time.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.density import fit_density
from zatlas.atlas.drawing import drawn_images
from zatlas.atlas.latent_path import LatentPath
from zatlas.atlas.neighbours import nearest_neighbours
from zatlas.atlas.paths import TRAVERSAL_VALUES, spacing, traversal, traversal_order
from zatlas.errors import UsageError
from zatlas.model.network import Network
from zatlas.model.told import in_told_shards, told_value
from zatlas.randomness import generator
from zatlas.results.kinds import Gallery, Samples, Traversal, Walk
from zatlas.results.priors import LATENTS, OWN, compare_priors, drawn_latents, own_mismatch
from zatlas.tiles.greys import grey_limits
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import as_shown
from zatlas.trust.features import image_features, named_changes

__all__ = ["View", "decoded", "galleries", "neighbours", "prior_strips", "samples", "traversals", "walks"]

log = logging.getLogger(__name__)

_DECODE_BATCH = 32
_MEMBERS = 8
_QUERIES = 6
_NEIGHBOURS = 6
_STRIP_IMAGES = 8


class View:
    """A network and the grey scale on which its images are shown.

    Args:
        network: The trained network, in evaluation mode.
        tiles: Grid tiles that fix the grey limits, best those of training (`tiles.greys.grey_limits`).
    """

    def __init__(self, network: Network, tiles: Tiles) -> None:
        self.network = network
        self.low, self.high = grey_limits(tiles)

    def told(self, value: str) -> "View":
        """The same, of a decoder that is told one value of its covariate for all images."""
        other = copy.copy(self)
        other.network = told_value(self.network, value)
        return other

    def display(self, scaled: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n c h w"]:
        """Images on the network's grey scale as shown, clipped to 0..1."""
        return as_shown(scaled, (self.low, self.high))

    def take(self, tiles: Tiles, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n c h w"]:
        """Some grid tiles as shown."""
        return self.display(tiles.take(rows))

    def decode(
        self, z: Float[np.ndarray, "n d"], told: Float[torch.Tensor, "n v"] | None = None
    ) -> Float[np.ndarray, "n c h w"]:
        """Decoder means of latents as shown; the decoder is told a row for each where it knows a covariate."""
        shape = self.network.config
        frames = np.empty((len(z), shape.channels, shape.size, shape.size), np.float32)
        latents = torch.from_numpy(np.ascontiguousarray(z, np.float32)).to(self.network.device)
        for start in range(0, len(z), _DECODE_BATCH):
            part = slice(start, start + _DECODE_BATCH)
            own = None if told is None else told[part]
            decoded = in_told_shards(self.network, lambda network, z: network.x_hat(z), latents[part], own)
            frames[part] = self.display(decoded.float().cpu().numpy())
        return frames

    def draw(self, z: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "n c h w"]:
        """Images of latents as shown, each with a texture of its own where the model draws textures."""
        return self.display(drawn_images(self.network, z, seed=seed).numpy())

    def reconstruct(
        self, scaled: Float[np.ndarray, "n c h w"], told: Float[torch.Tensor, "n v"] | None = None
    ) -> Float[np.ndarray, "n c h w"]:
        """Images on the network's grey scale through the model and back, by the posterior mean, as shown."""
        x = torch.from_numpy(scaled).to(self.network.device)
        made = in_told_shards(self.network, lambda network, x: network.reconstructed(x), x, told)
        return self.display(made.float().cpu().numpy())


def galleries(view: View, atlas: Atlas, tiles: Tiles, seed: int) -> list[Gallery]:
    """Central, random and borderline images of each cluster."""
    made = []
    for group in atlas.members(_MEMBERS, seed):
        chosen = {"central": group.central, "random": group.random, "borderline": group.borderline}
        made.append(
            Gallery(
                cluster=group.cluster,
                size=group.size,
                share=group.size / len(atlas),
                **chosen,
                images={kind: view.take(tiles, rows) for kind, rows in chosen.items()},
            )
        )
    return made


def walks(
    view: View, atlas: Atlas, tiles: Tiles, axes: Sequence[str], points: int, spread: Mapping[str, float]
) -> list[Walk]:
    """Decoded walks along axes, with the features that change.

    Args:
        view: The model.
        atlas: Where the images lie.
        tiles: The tiles of the atlas.
        axes: See `Atlas.path`; axes on which all images are the same are left out.
        points: Interior points.
        spread: Standard deviation of each feature over the real images.
    """
    made, unit = [], spacing(atlas.mean)
    for axis in axes:
        try:
            path = atlas.path(axis, points, unit=unit)
        except UsageError as err:
            log.info("no path along %s: %s", axis, err.what)
            continue
        made.append(decoded(view, path, tiles, spread))
    return made


def decoded(view: View, path: LatentPath, tiles: Tiles, spread: Mapping[str, float]) -> Walk:
    """The path with its frames, its ends as they are and as reconstructed, and the features that change."""
    images = view.decode(path.z)
    features = image_features(images)
    return Walk(
        **vars(path),
        frames=images[1:-1],
        end_reconstructions=images[[0, -1]],
        end_originals=view.take(tiles, np.array([path.start_row, path.end_row])),
        features=features,
        changes=named_changes(features, spread),
    )


def traversals(
    view: View, atlas: Atlas, rate_per_dim: Float[np.ndarray, " d"], is_active: np.ndarray
) -> list[Traversal]:
    """Each active dimension varied by itself, by falling rate."""
    return [
        Traversal(
            dim=dim,
            rate_nats=float(rate_per_dim[dim]),
            values=np.array(TRAVERSAL_VALUES),
            frames=view.decode(traversal(atlas.mean, atlas.log_var, dim)),
        )
        for dim in traversal_order(rate_per_dim, is_active)
    ]


def samples(
    view: View, atlas: Atlas, tiles: Tiles, training_rows: Int[np.ndarray, " m"], n: int, seed: int,
    source: str = LATENTS,
) -> Samples:  # fmt: skip
    """New images from a density fitted to the training latents and from the prior, with the mismatch of the two.

    Args:
        view: The model.
        atlas: Where the images lie.
        tiles: The tiles of the atlas.
        training_rows: Rows of the training images.
        n: How many of each.
        seed: Of the draws.
        source: "latents", the mixture fitted to posterior means, or a prior of `fitted_priors.FITTED`.

    Raises:
        UsageError: there is no such source.
    """
    latents = atlas.mean[training_rows]
    z, facts = _drawn(source, atlas, latents, n, seed)
    nearest, distance = nearest_neighbours(latents, 1, queries=z)
    rows = training_rows[nearest[:, 0]]
    prior = view.network.prior.sample(len(z), atlas.latent_dim, generator(seed, "prior samples"))
    return Samples(
        z=z,
        frames=view.draw(z, seed),
        nearest_rows=rows,
        nearest_images=view.take(tiles, rows),
        nearest_distance=distance[:, 0],
        density=facts,
        prior_frames=view.draw(prior, seed),
        mismatch=own_mismatch(view.network.prior, latents, atlas.log_var[training_rows], seed),
    )


def _drawn(
    source: str, atlas: Atlas, latents: Float[np.ndarray, "m d"], n: int, seed: int
) -> tuple[Float[np.ndarray, "n d"], dict[str, Any]]:
    """Draws of a density, and the facts about it."""
    if source != LATENTS:
        z, words = drawn_latents(source, atlas, n, seed)
        return z, {"kind": source, "text": words}
    density = fit_density(latents, seed)
    facts = {
        "kind": density.kind,
        "n_components": density.n_components,
        "heldout_loglik": density.heldout_loglik,
        "trials": density.trials,
        "text": density.text,
    }
    return density.sample(n, seed=seed), facts


def prior_strips(
    view: View, atlas: Atlas, seed: int, *, n: int = _STRIP_IMAGES
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The priors side by side (`compare_priors`), and a few images decoded from draws of each."""
    table, priors = compare_priors(view.network.prior, atlas, seed)
    strips = {}
    for place, one in enumerate(priors):
        name = one.name if place else OWN  # which may be called mixture or flow, too
        strips[name] = view.draw(one.sample(n, generator(seed, "prior strip", place)), seed)
    return table, strips


def neighbours(view: View, atlas: Atlas, tiles: Tiles, seed: int) -> dict[str, np.ndarray]:
    """Some images drawn by the seed, test images where there are enough, with their nearest ones in latent space."""
    candidates = np.arange(len(atlas))
    if "split" in atlas.table:
        test = np.flatnonzero(atlas.table["split"].astype(str).to_numpy() == "test")
        candidates = test if len(test) >= _QUERIES else candidates
    rng = generator(seed, "neighbour queries")
    query = np.sort(rng.permutation(candidates)[:_QUERIES])
    rows, distances = nearest_neighbours(atlas.mean, _NEIGHBOURS + 1, queries=atlas.mean[query])
    kept = [np.flatnonzero(row != own)[:_NEIGHBOURS] for row, own in zip(rows, query, strict=True)]
    rows = np.stack([row[places] for row, places in zip(rows, kept, strict=True)])
    distances = np.stack([row[places] for row, places in zip(distances, kept, strict=True)])
    images = view.take(tiles, rows.ravel())
    return {
        "query_rows": query,
        "query_images": view.take(tiles, query),
        "neighbour_rows": rows,
        "neighbour_images": images.reshape(*rows.shape, *images.shape[1:]),
        "distances": distances,
    }
