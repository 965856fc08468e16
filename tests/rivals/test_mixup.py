"""Mixup's batches: every image once, a partner from the same batch, one share per batch."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.mixup import blended


def batches(seed=0, alpha=0.2, count=45, size=10):
    return blended(count, size, alpha)(torch.Generator().manual_seed(seed), None)


def test_partners_are_a_permutation_of_the_batch():
    made = batches()
    assert len(made) == 4
    assert len(set(np.concatenate([batch.rows for batch in made]))) == 40
    for batch in made:
        assert sorted(batch.partners) == sorted(batch.rows)
        assert len(set(batch.share)) == 1
    assert any((batch.partners != batch.rows).any() for batch in made)


def test_shares_follow_beta():
    shares = [batch.share[0] for seed in range(50) for batch in batches(seed, alpha=0.2, count=200)]
    assert stats.kstest(shares, stats.beta(0.2, 0.2).cdf).pvalue > 0.01


def test_learns_the_majority(world):
    fitted = fit_rival(RIVALS["mixup"], world.problem)
    assert world.accuracies(fitted.classifier)[[0, 3]].min() > 0.9
