"""How strongly sets of images go with an outcome (a class, an error), tested by permutations within strata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DRAWS = 1999
"""Permutations: the smallest p-value is 1 / (DRAWS + 1)."""
AT_ONCE = 1_000_000
"""Numbers of permuted outcomes that are in memory at a time."""


@dataclass(frozen=True)
class Association:
    """`z` and `phi` [K, C]: standardised excess of outcome c in set k, and its correlation; `p` [K]: of each set's
    largest |z|, corrected for the number of sets."""

    z: Floats
    phi: Floats
    p: Floats


def associate(sets: Flags, outcomes: Integers, strata: Integers, seed: int, draws: int = DRAWS) -> Association:
    """Test K sets of N images, `sets` [N, K], against `outcomes` [N] (0 to C - 1) given `strata` [N].

    Of set k and outcome c, the excess is the number of images with both minus its expectation when outcomes are
    permuted within strata; z is the excess over its standard deviation (hypergeometric, strata summed: Mantel and
    Haenszel 1959), and phi = z / sqrt(N - number of strata), which for one stratum and two outcomes is the correlation
    of both. A set's statistic is its largest |z| over outcomes. p-values are of `draws` random permutations of the
    outcomes within strata, against the largest statistic of all sets (Westfall and Young 1993), so that the chance of
    any false finding is at most the level that p is compared with. Constant sets have z = 0 and p = 1."""
    _, strata = np.unique(strata, return_inverse=True)
    order = np.argsort(strata, kind="stable")
    sets, outcomes, strata = sets[order].astype(np.float64), outcomes[order], strata[order]
    marked = np.eye(int(outcomes.max()) + 1)[outcomes]
    sizes = np.bincount(strata).astype(np.float64)
    layers = np.eye(len(sizes))[strata]
    inside, total = layers.T @ sets, layers.T @ marked  # [S, K], [S, C]
    expected = inside.T @ (total / sizes[:, None])
    spread = inside * (sizes[:, None] - inside) / (sizes**2 * np.maximum(sizes - 1, 1))[:, None]
    deviation = np.sqrt(spread.T @ (total * (sizes[:, None] - total)))

    varies = deviation > 1e-9

    def standardised(outcome: Floats) -> Floats:
        """`outcome` [..., N, C] -> [..., K, C]"""
        excess = sets.T @ outcome - expected
        return np.where(varies, excess / np.where(varies, deviation, 1), 0)

    z = standardised(marked)
    statistic = np.abs(z).max(axis=1)
    reached = np.zeros(len(statistic))
    rng, together = np.random.default_rng(seed), max(1, AT_ONCE // marked.size)
    for start in range(0, draws, together):
        keys = strata + rng.random((min(together, draws - start), len(strata)))  # sorted: shuffled within strata
        largest = np.abs(standardised(marked[np.argsort(keys, axis=1)])).max(axis=(1, 2))
        reached += (largest[:, None] >= statistic - 1e-9).sum(axis=0)
    p = np.where(statistic > 0, (reached + 1) / (draws + 1), 1.0)
    return Association(z, z / np.sqrt(max(len(outcomes) - len(sizes), 1)), p)
