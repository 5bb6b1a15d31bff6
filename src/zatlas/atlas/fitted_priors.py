"""Priors fitted after training to the latents of a finished model, and how they are judged.

A VAE is sampled well where the prior is the distribution of its latents, the aggregate posterior. Where training did
not bring the two together, another prior can be fitted to draws of the training posteriors, with encoder and decoder
as they are (two-stage, Dai & Wipf 2019, https://arxiv.org/abs/1903.05789). The bound then changes by the rate alone.

    gaussian    mean and covariance of the draws
    mixture     Gaussians, as many as the likelihood of latents kept out wants (density.py)
    exemplars   a Gaussian around each training latent, as wide as validation latents want (between the mixture of the
                mean posterior around each and the one Gaussian; Norouzi et al. 2020, https://arxiv.org/abs/2004.04795)
    flow        affine couplings on whitened draws, trained until validation latents gain no more

Latents that judge (`judge_prior`) take no part in fitting or choosing.
"""

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import logsumexp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from zatlas.atlas.density import fit_density
from zatlas.compute import one_thread, one_thread_per_operator
from zatlas.errors import DataError, UsageError
from zatlas.model.priors import Flow, Prior
from zatlas.randomness import derived_seed, generator

__all__ = [
    "FITTED",
    "FittedPrior",
    "Latents",
    "fit_prior",
    "judge_prior",
    "of_model",
    "rate_against",
    "split_latents",
    "telling_apart",
]

_LOG_2PI = math.log(2 * math.pi)
_MOST_COMPONENTS = 2000
_WIDTHS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # 1: one Gaussian
_EPOCHS, _PATIENCE, _BATCH, _LEARNING_RATE = 200, 12, 128, 2e-3
_RATE_DRAWS = 8
_LEAST_JUDGED = 20
_LEAST_VALIDATION = 10
_SPLITS = ("train", "validation", "test")
_FOLDS = 5


@dataclass(frozen=True)
class Latents:
    """Posteriors of some images.

    Attributes:
        means: (n, d).
        log_vars: (n, d).
    """

    means: Float[np.ndarray, "n d"]
    log_vars: Float[np.ndarray, "n d"]

    def __post_init__(self) -> None:
        for values in (self.means, self.log_vars):
            if not np.isfinite(values).all():
                hint = "train the model again"
                raise DataError("the latents hold values that are not finite numbers", hint=hint)

    def __len__(self) -> int:
        return len(self.means)

    def draw(self, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """One draw of each posterior, float64."""
        means = self.means.astype(np.float64)
        return means + np.exp(0.5 * self.log_vars.astype(np.float64)) * rng.standard_normal(means.shape)


@dataclass(frozen=True)
class FittedPrior:
    """A density of latents with draws.

    Attributes:
        name: Such as "flow".
        words: What it is, with what was chosen.
        log_prob: Log-density of latents (n, d) [nats].
        sample: Draws (n, d) from their number and a generator.
    """

    name: str
    words: str
    log_prob: Callable[[Float[np.ndarray, "n d"]], Float[np.ndarray, " n"]]
    sample: Callable[[int, np.random.Generator], Float[np.ndarray, "n d"]]


def split_latents(
    means: Float[np.ndarray, "n d"], log_vars: Float[np.ndarray, "n d"], split: np.ndarray | None, *, seed: int = 0
) -> dict[str, Latents]:
    """Latents to fit ("train"), to choose ("validation") and, where there are any, to judge ("test").

    Args:
        means: Posterior means.
        log_vars: Posterior log-variances.
        split: Split of each image; None takes all for training.
        seed: Of the fifth of the training images that chooses where fewer than 10 images are in validation.
    """
    n = len(means)
    rows = {"train": np.arange(n)} if split is None else {one: np.flatnonzero(split == one) for one in _SPLITS}
    if len(rows.get("validation", ())) < _LEAST_VALIDATION:
        order = generator(seed, "prior split").permutation(rows["train"])
        kept = len(order) // 5
        rows |= {"train": np.sort(order[kept:]), "validation": np.sort(order[:kept])}
    return {one: Latents(means[chosen], log_vars[chosen]) for one, chosen in rows.items()}


def of_model(prior: Prior, d: int) -> FittedPrior:
    """The prior that a model was trained with, to be judged beside fitted ones."""

    def log_prob(z: np.ndarray) -> np.ndarray:
        like = next(prior.parameters(), torch.zeros(0))
        with torch.no_grad(), one_thread_per_operator():
            return np.asarray(prior.log_prob(torch.from_numpy(z).to(like)).double().cpu().numpy())

    return FittedPrior(prior.name, prior.words, log_prob, lambda n, rng: prior.sample(n, d, rng))


def fit_prior(name: str, train: Latents, validation: Latents, *, seed: int = 0) -> FittedPrior:
    """Fit a prior to draws of the training posteriors.

    Args:
        name: One of `FITTED`.
        train: Posteriors that it is fitted to.
        validation: Posteriors of other images, which choose how wide or how long.
        seed: Of draws, starts and the order of training.

    Raises:
        UsageError: there is no prior of this name.
        DataError: there are fewer than 5 training images, no validation images, or values that are not finite.
    """
    if name not in FITTED:
        raise UsageError(f"there is no prior {name!r} to fit", hint=f"use {', '.join(FITTED)}")
    if len(train) < 5 or len(validation) < 1:
        raise DataError(
            f"{len(train)} training and {len(validation)} validation images are too few to fit a prior",
            hint="embed more images",
        )
    return FITTED[name](train, validation, seed)


def _gaussian(train: Latents, validation: Latents, seed: int) -> FittedPrior:
    centre, factor = _moments(train.draw(generator(seed, "prior draws")))
    return _affine("gaussian", "a Gaussian with mean and covariance of the training latents", centre, factor)


def _moments(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and lower triangular factor of the covariance with a thousandth of each variance added."""
    covariance = np.atleast_2d(np.cov(draws, rowvar=False, bias=True))
    ridge = 1e-3 * np.diag(covariance) + 1e-9
    return draws.mean(axis=0), np.linalg.cholesky(covariance + np.diag(ridge))


def _affine(name: str, words: str, centre: np.ndarray, factor: np.ndarray) -> FittedPrior:
    inverse, log_det = np.linalg.inv(factor), float(np.log(np.diag(factor)).sum())

    def log_prob(z: np.ndarray) -> np.ndarray:
        u = (z - centre) @ inverse.T
        return np.asarray(-0.5 * (u**2 + _LOG_2PI).sum(axis=1) - log_det)

    return FittedPrior(name, words, log_prob, lambda n, rng: centre + rng.standard_normal((n, len(centre))) @ factor.T)


def _mixture(train: Latents, validation: Latents, seed: int) -> FittedPrior:
    density = fit_density(train.draw(generator(seed, "prior draws")), seed)
    full = density.factors if density.kind == "full" else np.stack([np.diag(row) for row in density.factors])
    parts = [_affine("", "", mean, factor) for mean, factor in zip(density.means, full, strict=True)]

    def log_prob(z: np.ndarray) -> np.ndarray:
        columns = np.stack([part.log_prob(z) for part in parts], axis=1)
        return np.asarray(logsumexp(columns + np.log(density.weights), axis=1))

    def sample(n: int, rng: np.random.Generator) -> np.ndarray:
        chosen = np.searchsorted(np.cumsum(density.weights), rng.random(n)).clip(max=len(parts) - 1)
        noise = rng.standard_normal((n, train.means.shape[1]))
        return np.asarray(density.means[chosen] + np.einsum("nij,nj->ni", full[chosen], noise))

    return FittedPrior("mixture", density.text, log_prob, sample)


def _exemplars(train: Latents, validation: Latents, seed: int) -> FittedPrior:
    rows = np.sort(generator(seed, "prior rows").permutation(len(train))[:_MOST_COMPONENTS])
    means, noise = train.means[rows].astype(np.float64), np.exp(train.log_vars[rows].astype(np.float64)).mean(axis=0)
    centre, covariance = means.mean(axis=0), np.atleast_2d(np.cov(means, rowvar=False, bias=True))

    def kernels(width: float) -> tuple[np.ndarray, np.ndarray]:
        """Centres and the shared factor; the means move inwards, so that every width has the latents' covariance."""
        wide = width**2 * covariance + np.diag(noise)
        return centre + math.sqrt(1 - width**2) * (means - centre), np.linalg.cholesky(wide)

    judged = validation.draw(generator(seed, "prior validation"))
    scores = [_kernel_log_prob(judged, *kernels(width)).mean() for width in _WIDTHS]
    width = _WIDTHS[int(np.argmax(scores))]
    centres, factor = kernels(width)

    def sample(n: int, rng: np.random.Generator) -> np.ndarray:
        chosen = rng.integers(len(centres), size=n)
        return np.asarray(centres[chosen] + rng.standard_normal((n, len(centre))) @ factor.T)

    words = f"Gaussians around the latents of {len(rows)} training images, {width:g} times as wide as all of them"
    return FittedPrior("exemplars", words, lambda z: _kernel_log_prob(z, centres, factor), sample)


def _kernel_log_prob(z: np.ndarray, centres: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Log-density of equally weighted Gaussians of one covariance, a bounded number of pairs at a time."""
    inverse, log_det = np.linalg.inv(factor), np.log(np.diag(factor)).sum()
    u, c = z @ inverse.T, centres @ inverse.T
    found = []
    for part in np.array_split(u, max(1, -(-len(u) * len(c) // 4_000_000))):
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ c.T + (c**2).sum(axis=1)
        found.append(logsumexp(-0.5 * squares, axis=1))
    return np.asarray(np.concatenate(found) - log_det - np.log(len(c)) - 0.5 * z.shape[1] * _LOG_2PI)


def _flow(train: Latents, validation: Latents, seed: int) -> FittedPrior:
    rng = generator(seed, "prior flow")
    centre, factor = _moments(train.draw(rng))
    inverse, log_det = np.linalg.inv(factor), float(np.log(np.diag(factor)).sum())

    def white(z: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((z - centre) @ inverse.T).astype(np.float32))

    d = len(centre)
    # Gradients are wanted, although an analysis asks for none.
    with one_thread_per_operator(), torch.inference_mode(mode=False), torch.enable_grad():
        flow = Flow(d, torch.Generator().manual_seed(derived_seed(seed, "prior flow")))
        judged = torch.cat([white(validation.draw(rng)) for _ in range(4)])
        epochs = _train(flow, lambda: white(train.draw(rng)), judged, rng)
    flow.eval().requires_grad_(requires_grad=False)

    def log_prob(z: np.ndarray) -> np.ndarray:
        with one_thread_per_operator():
            return np.asarray(flow.log_prob(white(z)).double().numpy()) - log_det

    words = f"a normalising flow fitted to the latents of {len(train)} training images in {epochs} passes"
    return FittedPrior("flow", words, log_prob, lambda n, draws: centre + flow.sample(n, d, draws) @ factor.T)


def _train(
    flow: Flow, draws: Callable[[], torch.Tensor], judged: Float[torch.Tensor, "m d"], rng: np.random.Generator
) -> int:
    """Train by maximum likelihood, each pass on new draws; keeps the best pass by `judged` and returns its number."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=_LEARNING_RATE)
    best, best_epoch, kept = math.inf, 0, copy.deepcopy(flow.state_dict())
    for epoch in range(_EPOCHS + 1):
        with torch.no_grad():
            loss = -float(flow.log_prob(judged).mean())
        if loss < best:
            best, best_epoch, kept = loss, epoch, copy.deepcopy(flow.state_dict())
        if epoch - best_epoch >= _PATIENCE or epoch == _EPOCHS:
            break
        points = draws()
        order = torch.from_numpy(rng.permutation(len(points)))
        for rows in torch.split(order, _BATCH):
            optimizer.zero_grad()
            (-flow.log_prob(points[rows]).mean()).backward()  # type: ignore[no-untyped-call, unused-ignore]
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()
    flow.load_state_dict(kept)
    return best_epoch


FITTED: dict[str, Callable[[Latents, Latents, int], FittedPrior]] = {
    "gaussian": _gaussian, "mixture": _mixture, "exemplars": _exemplars, "flow": _flow,
}  # fmt: skip
"""Priors that can be fitted after training, by name."""


def judge_prior(
    prior: FittedPrior, judged: Latents, groups: Int[np.ndarray, " n"] | None = None, *, seed: int = 0
) -> dict[str, float]:
    """How well a prior fits latents that it has not seen.

    Args:
        prior: Trained with the model, or fitted to other images.
        judged: Posteriors of held-out images.
        groups: Number of the group (patient, brain) of each, kept whole by the folds of the classifier.
        seed: Of the draws.

    Returns:
        A dictionary with these entries.

        - rate_nats: Mean KL of the posteriors from the prior, by 8 draws of each; the bound falls by it.
        - auc: See `telling_apart`; the mean over three of the draws.
        - n: Images judged.
    """
    draws = _draws(judged, seed)
    aucs = [
        telling_apart(z, prior, groups, seed=derived_seed(seed, "prior repeat", i)) for i, z in enumerate(draws[:3])
    ]
    return {"rate_nats": rate_against(prior, judged, seed=seed), "auc": float(np.mean(aucs)), "n": len(judged)}


def rate_against(prior: FittedPrior, judged: Latents, *, seed: int = 0) -> float:
    """Mean KL of posteriors from a prior, by 8 draws of each [nats]; see `judge_prior`."""
    entropy = 0.5 * (judged.log_vars.astype(np.float64) + 1 + _LOG_2PI).sum(axis=1).mean()
    return float(-entropy - np.mean([prior.log_prob(z).mean() for z in _draws(judged, seed)]))


def _draws(judged: Latents, seed: int) -> list[np.ndarray]:
    rng = generator(seed, "prior judged")
    return [judged.draw(rng) for _ in range(_RATE_DRAWS)]


def telling_apart(
    latents: Float[np.ndarray, "n d"], prior: FittedPrior, groups: Int[np.ndarray, " n"] | None, *, seed: int = 0
) -> float:
    """How well a classifier tells draws of held-out posteriors from draws of a prior: area under the ROC curve.

    0.5: not at all, 1: always. The higher one of two classifiers, each cross-validated in five folds: logistic
    regression on coordinates and their squares, which sees means, spreads and tilts, and boosted trees on coordinates
    and on the prior's own log-density, which see clumps and holes. Coordinates lie along the principal axes of the
    latents of the training folds. NaN for fewer than 20 latents.

    Source: classifier two-sample test, Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545
    """
    n = len(latents)
    if n < _LEAST_JUDGED:
        return float("nan")
    rng = generator(seed, "prior apart")
    drawn = prior.sample(n, rng)
    fold = np.tile(_folds(np.arange(n) if groups is None else groups, rng), 2)
    points, label = np.concatenate([latents, drawn]), np.repeat([1, 0], n)
    density = prior.log_prob(points)[:, None]
    scores = []
    for held in range(_FOLDS):
        fitted, judged = fold != held, fold == held
        own = points[fitted & (label == 1)]
        axes = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)[2]
        x = (points - own.mean(axis=0)) @ axes.T
        scores.append([
            roc_auc_score(label[judged], _told(kind, features[fitted], label[fitted], features[judged]))
            for kind, features in (("squares", np.hstack([x, x**2])), ("trees", np.hstack([x, density])))
        ])  # fmt: skip
    return float(np.mean(scores, axis=0).max())


def _folds(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The fold of each latent: groups whole, the largest first into the emptiest fold; by image with fewer than 5."""
    names, code, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < _FOLDS:
        return np.asarray(rng.permutation(len(groups)) % _FOLDS)
    order = rng.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    of_name, filled = np.zeros(len(names), np.int64), np.zeros(_FOLDS, np.int64)
    for name in order:
        of_name[name] = int(np.argmin(filled))
        filled[of_name[name]] += sizes[name]
    return of_name[code]


def _told(kind: str, train: np.ndarray, label: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Scores of the judged points by a classifier; that a fit stopped early is no reason for a warning here."""
    centre, scale = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-12)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if kind == "squares":
            model = LogisticRegression(max_iter=300).fit((train - centre) / scale, label)
        else:
            model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, early_stopping=False, random_state=0)
            model.fit(train, label)
            return np.asarray(model.predict_proba(judged)[:, 1])
        return np.asarray(model.decision_function((judged - centre) / scale))
