"""Where latents lie: a density to sample new images from, and how far it is from the prior.

A small collection fills a small part of the prior, so that prior samples decode to nonsense where samples of a density
fitted to the training latents decode to images (two-stage sampling: Dai & Wipf 2019, https://arxiv.org/abs/1903.05789;
Ghosh et al. 2020, https://arxiv.org/abs/1903.12436). The density is a Gaussian mixture; how many components and which
covariances is decided by the likelihood of latents that were kept out of the fit.
"""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold

from zatlas.atlas.projections import fit_pca
from zatlas.compute import one_thread
from zatlas.errors import DataError
from zatlas.randomness import derived_seed, generator

__all__ = ["Density", "fit_density", "prior_mismatch"]

log = logging.getLogger(__name__)

_COMPONENTS = (1, 2, 3, 5, 8, 12, 18, 27)
_MOST_FITTED = 5000
_LARGEST_FULL_DIM = 256
_LEAST_SHARE_PER_COMPONENT = 5
_RIDGE = 1e-3  # added to variances of latents scaled to deviation 1: 3 % of a deviation
_FOLDS_BELOW = 500
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Density:
    """A Gaussian mixture over latents.

    Attributes:
        kind: Covariances, "full" or "diag".
        weights: Of the components, summing to 1, (k,).
        means: (k, d).
        factors: Lower triangular factors of the covariances, (k, d, d), or deviations, (k, d), for "diag".
        heldout_loglik: Mean log-density of latents kept out of the fit, of the chosen kind and number [nats].
        trials: One row per mixture tried: kind, n_components, heldout_loglik, has_converged, chosen.
        n: Latents fitted.
    """

    kind: str
    weights: Float[np.ndarray, " k"]
    means: Float[np.ndarray, "k d"]
    factors: Float[np.ndarray, "k d *e"]
    heldout_loglik: float
    trials: pd.DataFrame
    n: int

    @property
    def n_components(self) -> int:
        """Number of components k."""
        return len(self.weights)

    @property
    def text(self) -> str:
        """The choice in words, with its numbers."""
        covariances = {"full": "full", "diag": "diagonal"}[self.kind]
        plural = "s" if self.n_components > 1 else ""
        return (
            f"Gaussian mixture of {self.n_components} component{plural} with {covariances} covariances, fitted to "
            f"{self.n} training latents, chosen among {len(self.trials)} by held-out likelihood "
            f"({self.heldout_loglik:.2f} nats per image)"
        )

    def sample(self, n: int, *, seed: int = 0) -> Float[np.ndarray, "n d"]:
        """Draw n latents, float32; the first draws do not depend on how many are asked for."""
        d = self.means.shape[1]
        choices = generator(seed, "density component").random(n)
        components = np.minimum(np.searchsorted(np.cumsum(self.weights), choices, side="right"), len(self.weights) - 1)
        noise = generator(seed, "density noise").standard_normal((n, d))
        drawn = np.empty((n, d))
        for component in np.unique(components):
            rows, factor = components == component, self.factors[component]
            spread = noise[rows] * factor if self.kind == "diag" else noise[rows] @ factor.T
            drawn[rows] = self.means[component] + spread
        return drawn.astype(np.float32)


def fit_density(latents: Float[np.ndarray, "n d"], seed: int = 0) -> Density:
    """Fit a Gaussian mixture to training latents; its size is chosen by the likelihood of latents kept out.

    A fifth of the latents is kept out; with fewer than 500 every fifth is kept out in turn. For each kind of covariance
    the number of components rises until the held-out likelihood has fallen twice. The winner is fitted again to all.
    At most 5000 latents, drawn by the seed, are used.

    Args:
        latents: Posterior means of training images.
        seed: Of the split, the starts and the draw.

    Raises:
        DataError: there are fewer than 5 latents, or values that are not finite.
    """
    points = _checked(latents, least=5)
    if len(points) > _MOST_FITTED:
        rng = generator(seed, "density rows")
        points = points[np.sort(rng.choice(len(points), _MOST_FITTED, replace=False))]
    center, scale = points.mean(axis=0), points.std(axis=0)
    # A dimension that the model does not use keeps its own tiny scale; one without any spread gets a token one.
    scale = np.maximum(scale, max(float(scale.max()), 1.0) * 1e-6)
    scaled = (points - center) / scale
    trials = [trial for kind in _kinds(points.shape[1]) for trial in _try_kind(scaled, kind, seed)]
    best = max(trials, key=lambda trial: float(trial["heldout_loglik"]))
    model, _ = _fit(scaled, best["kind"], best["n_components"], derived_seed(seed, "density"))
    table = pd.DataFrame([trial | {"chosen": trial is best} for trial in trials])
    table["heldout_loglik"] -= np.log(scale).sum()
    factors = _factors(model) * (scale if best["kind"] == "diag" else scale[:, None])
    density = Density(
        kind=best["kind"], weights=model.weights_ / model.weights_.sum(), means=model.means_ * scale + center,
        factors=factors, heldout_loglik=float(table["heldout_loglik"].max()), trials=table, n=len(points),
    )  # fmt: skip
    log.info("density of the latents: %s", density.text)
    return density


def _checked(latents: np.ndarray, *, least: int = 2) -> np.ndarray:
    points = np.asarray(latents, np.float64)
    if points.ndim != 2 or points.shape[1] == 0 or len(points) < least:
        raise DataError(
            f"latents of shape {points.shape} are too few for a density: expected at least {least} images",
            hint="embed more training images",
        )
    if not np.isfinite(points).all():
        raise DataError("the latents hold values that are not finite numbers", hint="train the model again")
    return points


def _kinds(d: int) -> tuple[str, ...]:
    return ("diag", "full") if 1 < d <= _LARGEST_FULL_DIM else ("diag",)


def _try_kind(points: np.ndarray, kind: str, seed: int) -> Iterator[dict[str, Any]]:
    """Held-out log-likelihoods of rising numbers of components, until they have fallen twice below the best."""
    folds = _folds(len(points), seed)
    best, falls = -np.inf, 0
    for k in _COMPONENTS:
        if k > 1 and len(points) < _LEAST_SHARE_PER_COMPONENT * k / 0.8:
            return
        scores, converged = [], True
        for fold, heldout in enumerate(folds):
            fitted = np.setdiff1d(np.arange(len(points)), heldout)
            model, has_converged = _fit(points[fitted], kind, k, derived_seed(seed, "density trial", k, fold))
            with one_thread():
                scores.append(model.score_samples(points[heldout]))
            converged &= has_converged
        score = float(np.concatenate(scores).mean())
        yield {"kind": kind, "n_components": k, "heldout_loglik": score, "has_converged": converged}
        best, falls = (score, 0) if score > best else (best, falls + 1)
        if falls == 2:
            return


def _folds(n: int, seed: int) -> list[np.ndarray]:
    order = generator(seed, "density folds").permutation(n)
    n_folds = min(5, n)
    parts = np.array_split(order, n_folds)
    return parts if n < _FOLDS_BELOW else parts[:1]


def _fit(points: np.ndarray, kind: str, k: int, seed: int) -> tuple[GaussianMixture, bool]:
    """EM from k-means; that it was stopped early, or that points coincide, is no reason for a warning here."""
    model = GaussianMixture(k, covariance_type=kind, reg_covar=_RIDGE, max_iter=100, random_state=seed)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(points)
    return model, bool(model.converged_)


def _factors(model: GaussianMixture) -> np.ndarray:
    covariances = np.asarray(model.covariances_)
    return np.sqrt(covariances) if covariances.ndim == 2 else np.linalg.cholesky(covariances)


def prior_mismatch(
    means: Float[np.ndarray, "n d"], log_vars: Float[np.ndarray, "n d"], seed: int = 0
) -> dict[str, float]:
    """How far the aggregate posterior q(z), the mean of the posteriors of all images, is from the prior N(0, I).

    Args:
        means: Posterior means of training images.
        log_vars: Posterior log-variances.
        seed: Of the draws.

    Returns:
        A dictionary with these entries.

        - kl_nats: KL(q, prior) of the Gaussian with the mean and covariance of q. A lower bound of the true KL, because
          the prior is Gaussian; stable for few images. The headline.
        - kl_mixture_nats: Monte Carlo estimate with q as the mixture of these images' posteriors. For few images it is
          too large, about the mean rate minus log n, because the gaps between images count as mismatch.
        - rate_nats: Mean KL of one image's posterior, above which no mismatch can be.
        - auc: How well a classifier tells draws of q from draws of the prior, cross-validated: 0.5 not at all, 1
          always. Logistic regression on z and z^2 along the principal axes of q's draws in the training folds (the
          prior has no axes of its own), the shape of the optimal rule when q is Gaussian. NaN for fewer than 20 images.
        - n: Images used.

    Raises:
        DataError: there are fewer than 2 images, or values that are not finite.

    Source: Hoffman & Johnson 2016, ELBO surgery; classifier: Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545
    """
    means, log_vars = _checked(means), _checked(log_vars)
    variances = np.exp(log_vars)
    rate = 0.5 * (means**2 + variances - 1 - log_vars).sum(axis=1).mean()
    return {
        "kl_nats": _gaussian_kl(means, variances),
        "kl_mixture_nats": _mixture_kl(means, log_vars, seed),
        "rate_nats": float(rate),
        "auc": _classifier_auc(means, variances, seed),
        "n": len(means),
    }


def _gaussian_kl(means: np.ndarray, variances: np.ndarray) -> float:
    """0.5 (trace S + m'm - d - log det S), with m and S the moments of the aggregate posterior [nats]."""
    center = means.mean(axis=0)
    covariance = np.cov(means, rowvar=False, bias=True).reshape(len(center), -1) + np.diag(variances.mean(axis=0))
    _, log_det = np.linalg.slogdet(covariance)
    return float(0.5 * (np.trace(covariance) + center @ center - len(center) - log_det))


def _mixture_kl(means: np.ndarray, log_vars: np.ndarray, seed: int, *, most: int = 2000) -> float:
    """Mean of log q(z) - log p(z) over draws of q; q is the mixture of the posteriors of all images [nats]."""
    n, d = means.shape
    rng = generator(seed, "mismatch kl")
    rows = rng.permutation(n)[:most]
    draws = means[rows] + np.exp(0.5 * log_vars[rows]) * rng.standard_normal((len(rows), d))
    precision = np.exp(-log_vars)
    offsets = (means**2 * precision + log_vars).sum(axis=1) + d * _LOG_2PI
    total = 0.0
    for part in np.array_split(draws, max(1, -(-len(draws) * n // 4_000_000))):
        exponents = -0.5 * (part**2 @ precision.T - 2 * part @ (means * precision).T + offsets)
        log_prior = -0.5 * ((part**2).sum(axis=1) + d * _LOG_2PI)
        total += float((logsumexp(exponents, axis=1) - np.log(n) - log_prior).sum())
    return total / len(draws)


def _classifier_auc(means: np.ndarray, variances: np.ndarray, seed: int, *, most: int = 2000) -> float:
    """Cross-validated area under the ROC curve of posterior draws, one per image, against prior draws."""
    rng = generator(seed, "mismatch auc")
    rows = rng.permutation(len(means))[:most]
    if len(rows) < 20:
        return float("nan")
    drawn = means[rows] + np.sqrt(variances[rows]) * rng.standard_normal((len(rows), means.shape[1]))
    points = np.concatenate([drawn, rng.standard_normal(drawn.shape)])
    is_posterior = np.repeat([1, 0], len(rows))
    folds = StratifiedKFold(5, shuffle=True, random_state=derived_seed(seed, "mismatch folds"))
    scores = []
    for fitted, judged in folds.split(points, is_posterior):
        axes = fit_pca(points[fitted][is_posterior[fitted] == 1]).components
        train, test = _squares(points[fitted] @ axes.T, points[judged] @ axes.T)
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(max_iter=300).fit(train, is_posterior[fitted])
        scores.append(roc_auc_score(is_posterior[judged], model.decision_function(test)))
    return float(np.mean(scores))


def _squares(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """z and z^2 side by side, scaled to mean 0 and deviation 1 of the training fold."""
    train, test = np.hstack([train, train**2]), np.hstack([test, test**2])
    center, scale = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-12)
    return (train - center) / scale, (test - center) / scale
