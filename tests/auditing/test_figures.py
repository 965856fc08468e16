"""Intervals against scipy and a closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ddb.auditing.figures import bootstrap, mean, share


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 7), (50, 50), (612, 800)])
def test_shares_have_scipys_wilson_interval(hits: int, n: int) -> None:
    found = share(np.arange(n) < hits)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert found is not None and (found.value, found.n) == (hits / n, n)
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).exponential(size=400)
    found, half = mean(values), 1.96 * values.std() / np.sqrt(400)
    assert found is not None and found.value == values.mean()
    assert (found.low, found.high) == (
        pytest.approx(values.mean() - half, abs=0.02),
        pytest.approx(values.mean() + half, abs=0.02),
    )
    assert mean(values) == found  # a fixed seed


def test_nothing_has_no_figure() -> None:
    assert share(np.zeros(0, bool)) is None and mean(np.zeros(0)) is None
    assert bootstrap(lambda rows: np.nan, 4) is None


def test_one_minus_a_share() -> None:
    found = share(np.arange(10) < 3)
    assert found is not None
    assert (found.flipped().low, found.flipped().value, found.flipped().high) == (1 - found.high, 0.7, 1 - found.low)
