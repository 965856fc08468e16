"""Figures with their interval and the number of images behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.learn.metrics import wilson

WILSON, BOOTSTRAP = "wilson", "bootstrap"
RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """`value` with its 95% interval [`low`, `high`], from `n` images or pairs. `interval`: "wilson" (of a share) or
    "bootstrap" (percentiles of `RESAMPLES` resamples)."""

    value: float
    low: float
    high: float
    n: int
    interval: str

    def flipped(self) -> Figure:
        """1 minus the figure."""
        return Figure(1 - self.value, 1 - self.high, 1 - self.low, self.n, self.interval)


def share(hits: npt.NDArray[np.bool_]) -> Figure | None:
    """The share of True with Wilson's interval; None where `hits` is empty."""
    n, count = len(hits), int(hits.sum())
    return Figure(count / n, *wilson(count, n), n, WILSON) if n else None


def mean(values: npt.NDArray[np.floating]) -> Figure | None:
    """The mean with its bootstrap interval; None where `values` is empty."""
    return bootstrap(lambda rows: float(values[rows].mean()), len(values))


def bootstrap(statistic: Callable[[npt.NDArray[np.int64]], float], n: int) -> Figure | None:
    """`statistic` of all rows 0, ..., n - 1, with the 2.5% and 97.5% percentiles of its values on rows drawn with
    replacement (fixed seed). Resamples for which it is not finite are left out; None where `n` is 0 or the statistic of
    all rows is not finite."""
    value = statistic(np.arange(n)) if n else np.nan
    if not np.isfinite(value):
        return None
    rng = np.random.default_rng(0)
    drawn = np.array([statistic(rng.integers(n, size=n)) for _ in range(RESAMPLES)])
    low, high = np.percentile(drawn[np.isfinite(drawn)], [2.5, 97.5])
    return Figure(float(value), min(float(low), value), max(float(high), value), n, BOOTSTRAP)
