"""How often the 95 % interval over groups holds the truth, for few and many groups: the table of numbers.md.

python bench/intervals.py [--rounds 1000]

Each group has some tiles (20 on average) and a mean of its own. `even`: the same number of tiles in each; `uneven`:
lognormal numbers; `skewed`: means of an exponential law; `pooled`: PSNR of errors pooled over tiles, less that of PCA,
with lognormal errors. Beside it the percentiles of groups drawn again 400 times.
"""

import argparse
from collections.abc import Callable

import numpy as np

from zatlas.trust.gains import interval_over_groups

_GROUPS = (2, 3, 4, 5, 10, 30, 100)
_KINDS = ("even", "uneven", "skewed", "pooled")
_GAIN_DB, _GAIN_SD_DB, _PCA_SD = 0.3, 0.3, 0.7
OfSums = Callable[[np.ndarray], np.ndarray]


def sample(kind: str, n_groups: int, rng: np.random.Generator) -> tuple[np.ndarray, OfSums, float]:
    """Sums of each group, (g, m); the number that they make; its true value."""
    n = np.full(n_groups, 20.0) if kind == "even" else np.maximum(1, rng.lognormal(np.log(20), 0.6, n_groups).round())
    if kind == "pooled":
        pca = n * rng.lognormal(-5, _PCA_SD, n_groups)
        model = pca * 10 ** (-rng.normal(_GAIN_DB, _GAIN_SD_DB, n_groups) / 10)
        nats = np.log(10) / 10
        truth = -10 * np.log10(np.exp(-_GAIN_DB * nats + 0.5 * (_GAIN_SD_DB * nats) ** 2))
        return np.stack([model, pca], axis=1), lambda sums: 10 * np.log10(sums[:, 1] / sums[:, 0]), float(truth)
    own = rng.exponential(1, n_groups) - 1 if kind == "skewed" else rng.normal(0, 1, n_groups)
    means = own + rng.normal(0, 2, n_groups) / np.sqrt(n)
    return np.stack([means * n, n], axis=1), lambda sums: sums[:, 0] / sums[:, 1], 0.0


def percentiles(sums: np.ndarray, of_sums: OfSums, rng: np.random.Generator) -> tuple[float, float]:
    """What zatlas took before: percentiles of the number over groups drawn again."""
    n = len(sums)
    low, high = np.quantile(of_sums(rng.multinomial(n, np.full(n, 1 / n), size=400) @ sums), (0.025, 0.975))
    return float(low), float(high)


def coverage(kind: str, n_groups: int, rounds: int, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of rounds in which the interval, and that of percentiles, hold the truth."""
    hits = np.zeros(2)
    for _ in range(rounds):
        sums, of_sums, truth = sample(kind, n_groups, rng)
        ends = interval_over_groups(sums, np.arange(n_groups), of_sums), percentiles(sums, of_sums, rng)
        hits += [low <= truth <= high for low, high in ends]
    return float(hits[0] / rounds), float(hits[1] / rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    print(f"| groups | {' | '.join(_KINDS)} | percentiles, the four |")
    for n_groups in _GROUPS:
        found = [coverage(kind, n_groups, rounds, rng) for kind in _KINDS]
        ours = " | ".join(f"{100 * own:.0f} %" for own, _ in found)
        print(f"| {n_groups} | {ours} | {', '.join(f'{100 * other:.0f}' for _, other in found)} % |", flush=True)


if __name__ == "__main__":
    main()
