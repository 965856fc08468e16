"""Means with 95% intervals: Student's t over seeds, Wilson within one run, and paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from ddb.learn.metrics import wilson
from ddb.report.charts.interval import Interval


@dataclass(frozen=True)
class MeanWithInterval(Interval):
    """`value` is the mean over `seeds` seeds, with its 95% interval. `kind` says how that was made: "t" over seeds,
    "wilson" from the images of one run, "" where there is none (one seed says nothing of the spread over seeds)."""

    seeds: int = 1
    kind: str = ""

    @property
    def half(self) -> float | None:
        """Half the width of the interval over seeds; None where there is no such interval."""
        return self.high - self.value if self.kind == "t" and self.high is not None else None


def over_seeds(values: Sequence[float]) -> MeanWithInterval:
    """Mean of `values` (one per seed) with its t-interval; no interval for one seed."""
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return MeanWithInterval(mean)
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return MeanWithInterval(mean, mean - half, mean + half, count, "t")


def of_share(values: Sequence[float], sizes: Sequence[int]) -> MeanWithInterval:
    """Mean of accuracies (one per seed, each over `sizes` images): t-interval, or Wilson's where there is one seed."""
    if len(values) > 1:
        return over_seeds(values)
    low, high = wilson(round(values[0] * sizes[0]), sizes[0])
    return MeanWithInterval(values[0], low, high, 1, "wilson")


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> MeanWithInterval | None:
    """Mean of ours - theirs over the seeds that both have; None where they share none."""
    shared = sorted(ours.keys() & theirs.keys())
    return over_seeds([ours[seed] - theirs[seed] for seed in shared]) if shared else None
