"""GroupDRO on hand-made batches, against algorithm 1 written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddb.learn.training.group_dro import GroupDRO
from ddb.rivals import RIVALS, fit_rival

GROUPS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 3])
SIZES = np.array([4, 2, 3, 1])


@pytest.mark.parametrize("adjustment", [0.0, 2.0])
def test_q_and_loss_are_those_of_algorithm_1(adjustment):
    objective, q = GroupDRO(GROUPS, 0.5, adjustment), np.full(4, 0.25)
    for rows, losses in [
        (np.array([0, 4, 1, 6]), np.array([1.0, 2.0, 3.0, 0.5])),
        (np.array([9, 9, 5, 2]), np.array([4.0, 0.0, 1.0, 1.0])),
    ]:
        means = np.array([losses[GROUPS[rows] == g].mean() if (GROUPS[rows] == g).any() else 0 for g in range(4)])
        q = q * np.exp(0.5 * (means + adjustment / np.sqrt(SIZES)))
        q /= q.sum()
        weights = objective.weigh(rows, torch.empty(0), torch.from_numpy(losses)).numpy()
        assert objective.state["q"].numpy() == pytest.approx(q, rel=1e-9)
        assert (weights * losses).mean() == pytest.approx(q @ means, rel=1e-9)


def test_an_absent_groups_q_changes_by_normalisation_alone():
    objective = GroupDRO(GROUPS, 1.0, 0.0)
    objective.weigh(np.array([0, 4]), torch.empty(0), torch.tensor([1.0, 2.0]))
    q = objective.state["q"].numpy()
    assert q[2] == q[3] == pytest.approx(1 / (np.e + np.e**2 + 2))


@pytest.mark.parametrize("values", [{}, {"balanced_batches": False, "step_size": 0.1, "lr_scale": 2}])
def test_reaches_the_minority_that_erm_does_not(world, values):
    before = world.accuracies(world.problem.erm())
    fitted = fit_rival(RIVALS["group_dro"], world.problem, values)
    after = world.accuracies(fitted.classifier)
    assert before.min() < 0.5 < 0.9 < after.min()
    assert fitted.figures[0] > 0.9
