"""Estimates with 95% intervals: Student's t over seeds, Wilson within one run, and paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from ddb.learn.metrics import wilson


@dataclass(frozen=True)
class Estimate:
    """`value` with the interval [low, high] (None where there is none: one seed says nothing of the spread over seeds);
    `seeds`: how many it is the mean of; `kind`: "t" over seeds, "wilson" of one run's images, "" without interval."""

    value: float
    low: float | None = None
    high: float | None = None
    seeds: int = 1
    kind: str = ""

    @property
    def half(self) -> float | None:
        """Half the width of the interval over seeds."""
        return self.high - self.value if self.kind == "t" and self.high is not None else None


def over_seeds(values: Sequence[float]) -> Estimate:
    """Mean of one value a seed with its t-interval; no interval for one seed."""
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return Estimate(mean)
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count, "t")


def of_share(values: Sequence[float], sizes: Sequence[int]) -> Estimate:
    """Accuracies over `sizes` images, one a seed: over seeds, or Wilson's interval where there is one seed."""
    if len(values) > 1:
        return over_seeds(values)
    low, high = wilson(round(values[0] * sizes[0]), sizes[0])
    return Estimate(values[0], low, high, 1, "wilson")


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """The difference ours - theirs over the seeds that both have; None where they share none."""
    shared = sorted(ours.keys() & theirs.keys())
    return over_seeds([ours[seed] - theirs[seed] for seed in shared]) if shared else None
