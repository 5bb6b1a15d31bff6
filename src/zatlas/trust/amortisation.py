"""The amortisation gap: how much better the posterior of each image could be than the one that the encoder gives.

An encoder answers for all images at once and is trained to be right on average. Where a few gradient steps on the ELBO
of a single image (atlas/refinement.py) still gain nats, the decoder could have said more than the encoder asked it for.
A measure of the encoder; refining latents is no cure for one that was trained too little.

Source: Cremer et al. 2018, section 3, https://arxiv.org/abs/1801.03558
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

from zatlas.trust.uncertainty import standard_error

__all__ = ["amortisation_gap", "mean_interval", "units_of"]


def amortisation_gap(
    losses: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    psnr_db: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    units: Sequence[str],
) -> dict[str, int | float]:
    """What refining gains, means over images with 95 % intervals.

    Args:
        losses: distortion + beta * rate of each image before and after [nats].
        psnr_db: PSNR of the reconstruction by the posterior mean before and after [dB].
        units: What each image belongs to; units are taken as independent of one another.

    Returns:
        n, n_units; `nats` and `db` gained, each with `_low` and `_high` (NaN with fewer than two units); `loss_before`
        and `psnr_before_db`.

    Example:
        >>> found = amortisation_gap((np.full(4, 9.0), np.full(4, 7.0)), (np.zeros(4), np.ones(4)), list("aabb"))
        >>> found["nats"], found["nats_low"], found["db"], found["n_units"]
        (2.0, 2.0, 1.0, 2)
    """
    nats, db = losses[0] - losses[1], psnr_db[1] - psnr_db[0]
    numbers: dict[str, int | float] = {"n": len(nats), "n_units": len(set(units))}
    for name, gains in (("nats", nats), ("db", db)):
        low, high = mean_interval(gains, units)
        numbers |= {name: float(np.mean(gains)), f"{name}_low": low, f"{name}_high": high}
    return numbers | {"loss_before": float(np.mean(losses[0])), "psnr_before_db": float(np.mean(psnr_db[0]))}


def mean_interval(values: Float[np.ndarray, " n"], units: Sequence[str]) -> tuple[float, float]:
    """95 % interval of a mean over images of which those of one unit (patient, brain, image of tiles) go together.

    Student's t around the mean, with a standard error from the sums of the deviations of each unit.

    Returns:
        Its ends; NaN with fewer than two units.

    Source: Liang & Zeger 1986 for means, with the factor g / (g - 1), https://doi.org/10.1093/biomet/73.1.13

    Example:
        >>> mean_interval(np.array([1.0, 1.0, 3.0, 3.0]), list("aabb"))[0] < 1.0
        True
    """
    _, code = np.unique(np.asarray(units, dtype=str), return_inverse=True)
    n_units = int(code.max()) + 1 if len(code) else 0
    if n_units < 2:
        return float("nan"), float("nan")
    centre = float(np.mean(values))
    sums = np.bincount(code, weights=np.asarray(values, np.float64) - centre) * n_units / len(values)
    error = standard_error(float(np.sqrt((sums**2).sum() / (n_units - 1))), float(n_units))
    half = float(stats.t.ppf(0.975, n_units - 1)) * error
    return centre - half, centre + half


def units_of(groups: Sequence[str], images: Sequence[str]) -> tuple[list[str], str]:
    """What images (or tiles) are taken as independent of one another, and its name: groups where there are several,
    otherwise the images that they are or come from."""
    named = [str(name) for name in groups]
    return (named, "group") if len(set(named)) > 1 else ([str(name) for name in images], "image")
