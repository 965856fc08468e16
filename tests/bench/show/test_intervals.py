"""Intervals against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ddb.bench.show.intervals import of_share, over_seeds, paired

VALUES = [0.81, 0.86, 0.79, 0.9, 0.84]


def test_interval_over_seeds_is_students() -> None:
    found = over_seeds(VALUES)
    low, high = stats.t.interval(0.95, len(VALUES) - 1, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(VALUES), low, high), abs=1e-12)
    assert (found.seeds, found.kind) == (5, "t")
    assert found.half == pytest.approx(high - np.mean(VALUES))


def test_one_seed_has_no_interval() -> None:
    found = over_seeds([0.8])
    assert (found.value, found.low, found.high, found.half, found.kind) == (0.8, None, None, None, "")


def test_one_run_has_wilsons_interval() -> None:
    found = of_share([0.85], [40])
    ends = stats.binomtest(34, 40).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=1e-12)
    assert (found.kind, found.half) == ("wilson", None)
    assert of_share(VALUES, [40] * 5) == over_seeds(VALUES)


def test_difference_is_paired_by_seed() -> None:
    ours, theirs = dict(enumerate(VALUES)), dict(enumerate([0.8, 0.8, 0.77, 0.85, 0.86]))
    found = paired(ours, theirs)
    ends = stats.ttest_rel(VALUES, list(theirs.values())).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=1e-12)
    assert paired({0: 0.5, 1: 0.7}, {1: 0.6, 2: 0.1}) == over_seeds([0.7 - 0.6])
    assert paired({0: 0.5}, {1: 0.6}) is None
