"""Group weights and the frequencies that a sampler gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddb.learn.training.group_plans import balanced
from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.reweight import group_weights

WATERBIRDS = np.repeat(np.arange(4), [3498, 184, 56, 1057])


def test_weighted_groups_count_alike():
    weights = group_weights(WATERBIRDS, "images")
    sums = np.bincount(WATERBIRDS, weights)
    assert sums == pytest.approx([4795 / 4] * 4, rel=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_subpopbenchs_scale_has_mean_1_over_groups():
    """learning/algorithms.py: 1 / sizes, over their sum, times the number of groups."""
    inverse = 1 / np.array([3498, 184, 56, 1057])
    expected = inverse / inverse.sum() * 4
    weights = group_weights(WATERBIRDS, "groups")
    assert [weights[group == WATERBIRDS][0] for group in range(4)] == pytest.approx(expected, rel=1e-5)
    assert group_weights(WATERBIRDS, "images")[0] / weights[0] == pytest.approx(7.35, abs=0.01)  # as the file says


def test_an_absent_group_is_left_out():
    assert group_weights(np.array([0, 0, 2]), "images") == pytest.approx([0.75, 0.75, 1.5])


def test_a_balanced_sampler_draws_every_group_equally_often():
    plan = balanced(WATERBIRDS, 32)
    batches = plan(torch.Generator().manual_seed(0), None)
    assert (len(batches), len(batches[0].rows)) == (4795 // 32, 32)  # ERM's steps
    groups = WATERBIRDS[np.concatenate([batch.rows for batch in batches])]
    shares = np.bincount(groups, minlength=4) / len(groups)
    assert shares == pytest.approx([0.25] * 4, abs=4 * np.sqrt(0.25 * 0.75 / len(groups)))
    others = plan(torch.Generator().manual_seed(1), None)
    assert not np.array_equal(batches[0].rows, others[0].rows)


@pytest.mark.parametrize("name", ["reweight", "resample"])
def test_reaches_the_minority_that_erm_does_not(world, name):
    before = world.accuracies(world.problem.erm())
    after = world.accuracies(fit_rival(RIVALS[name], world.problem).classifier)
    assert before.min() < 0.5 < 0.9 < after.min()
