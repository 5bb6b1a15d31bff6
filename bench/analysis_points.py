"""Made-up latents that look like those of a variational autoencoder, for the benchmarks of the analysis.

Three fifths of the points lie on a curved continuum of three factors, two fifths in seven elongated groups of different
sizes. The spread of the dimensions falls by a factor of ten, and the last quarter of them is hardly used, as dimensions
are that the model has switched off. numpy alone, so that it runs in every environment.
"""

import numpy as np

__all__ = ["latents", "pictures"]

_GROUPS = 7
_FACTORS = 3


def latents(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Points of one made-up latent space, float32, (n, d); the law does not depend on n."""
    law, draws = np.random.default_rng([seed, d]), np.random.default_rng([seed, d, n])
    bend, turn = law.normal(size=(_FACTORS, d)), law.uniform(0, 2 * np.pi, d)
    centres = 2.5 * law.normal(size=(_GROUPS, d))
    stretches = law.normal(size=(_GROUPS, d, d)) * np.linspace(1, 0.2, d)[:, None] / np.sqrt(d)
    shares = np.arange(1, _GROUPS + 1) / np.arange(1, _GROUPS + 1).sum()

    kind = np.where(draws.random(n) < 0.6, -1, draws.choice(_GROUPS, n, p=shares))
    noise = draws.normal(size=(n, d))
    points = 1.5 * np.sin(draws.uniform(-1.5, 1.5, (n, _FACTORS)) @ bend + turn) + 0.15 * noise
    for group in range(_GROUPS):
        own = kind == group
        points[own] = centres[group] + noise[own] @ stretches[group]
    spread = 10.0 ** -np.linspace(0, 1, d)
    spread[-(d // 4) :] = 0.01
    return np.asarray(points * spread, np.float32)


def pictures(n: int, side: int, seed: int = 0) -> np.ndarray:
    """Smooth images with noise, float32 on 0..1, (n, 1, side, side)."""
    rng = np.random.default_rng([seed, side])
    at = np.arange(side) / side
    coarse = rng.normal(size=(n, 8, 8))
    weights = np.exp(-((at[:, None] - (np.arange(8) + 0.5) / 8) ** 2) / 0.01)
    smooth = weights @ coarse @ weights.T
    images = 0.5 + 0.1 * smooth + 0.02 * rng.normal(size=(n, side, side))
    return np.asarray(np.clip(images, 0, 1)[:, None], np.float32)
