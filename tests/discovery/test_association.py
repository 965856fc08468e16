"""Permutation tests against exact ones and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ddb.discovery.association import associate

ONE = np.zeros(40, np.int64)


def planted(size: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 and 1, and a set that holds `share` of the ones and 1 - share of the zeros."""
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    return labels, np.where(labels == 1, rng.random(size) < share, rng.random(size) >= share)


def exact_p(inside: np.ndarray, labels: np.ndarray) -> float:
    """Probability of an excess at least as large in absolute value, by the hypergeometric distribution."""
    n, k, m = len(labels), int(inside.sum()), int(labels.sum())
    expected = k * m / n
    seen = abs(int((inside & (labels == 1)).sum()) - expected)
    counts = np.arange(max(0, k + m - n), min(k, m) + 1)
    return float(stats.hypergeom(n, m, k).pmf(counts)[np.abs(counts - expected) >= seen - 1e-9].sum())


def test_z_is_the_root_of_the_chi_square_of_the_table() -> None:
    labels, inside = planted(60, 0.7)
    found = associate(inside[:, None], labels, np.zeros(60, np.int64), 0, draws=9)
    table = [[int((inside == a).astype(int) @ (labels == b)) for b in (0, 1)] for a in (False, True)]
    chi_square = stats.chi2_contingency(table, correction=False).statistic
    assert found.z[0, 1] ** 2 == pytest.approx(chi_square * 59 / 60)
    assert abs(found.phi[0, 1]) == pytest.approx(abs(np.corrcoef(inside, labels)[0, 1]))


@pytest.mark.parametrize("share", [0.5, 0.6, 0.7])
def test_p_of_one_set_is_the_exact_one(share: float) -> None:
    labels, inside = planted(40, share, seed=3)
    found = associate(inside[:, None], labels, ONE, 1, draws=6000)
    exact = exact_p(inside, labels)
    assert found.p[0] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 6000) + 1 / 6000)


def test_p_is_scipys_where_labels_have_three_values() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 50)
    inside = (rng.random(50) < 0.4) | (labels == 2) & (rng.random(50) < 0.4)

    def statistic(own: np.ndarray) -> float:
        return float(np.abs(associate(inside[:, None], own, np.zeros(50, np.int64), 0, draws=1).z).max())

    scipys = stats.permutation_test(
        (labels,), statistic, permutation_type="pairings", n_resamples=999, rng=np.random.default_rng(0),
        alternative="greater",
    )  # fmt: skip
    found = associate(inside[:, None], labels, np.zeros(50, np.int64), 5, draws=3000)
    assert found.p[0] == pytest.approx(scipys.pvalue, abs=0.06)


def test_the_chance_of_any_false_finding_is_the_level() -> None:
    """Of 300 data sets without an association, about one in ten has a p of 0.1 or less among ten sets."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    hits = [
        bool((associate(rng.random((60, 10)) < 0.3, labels, np.zeros(60, np.int64), seed, draws=99).p <= 0.1).any())
        for seed in range(300)
    ]
    assert 0.05 < np.mean(hits) < 0.16


def test_strata_take_out_what_they_explain() -> None:
    """The set goes with the stratum, and the stratum with the label: within strata nothing is left."""
    rng = np.random.default_rng(1)
    strata = np.arange(400) % 2
    labels = np.where(rng.random(400) < 0.9, strata, 1 - strata)
    inside = np.where(rng.random(400) < 0.9, strata, 1 - strata) == 1
    plain = associate(inside[:, None], labels, np.zeros(400, np.int64), 0, draws=199)
    given = associate(inside[:, None], labels, strata, 0, draws=199)
    assert plain.p[0] <= 0.005 and plain.phi[0, 1] > 0.5
    assert given.p[0] > 0.05 and abs(given.phi[0, 1]) < 0.1


def test_empty_and_full_sets_are_no_finding() -> None:
    sets = np.stack([np.zeros(40, bool), np.ones(40, bool)], axis=1)
    found = associate(sets, np.arange(40) % 2, ONE, 0, draws=19)
    assert found.p.tolist() == [1, 1]
    assert not found.z.any()


def test_the_same_seed_gives_the_same_p() -> None:
    labels, inside = planted(40, 0.6)
    first, second = (associate(inside[:, None], labels, ONE, 7, draws=50) for _ in range(2))
    assert first.p.tolist() == second.p.tolist()
