"""CVaR of a batch against its definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.cvar_dro import CVaR


def value(losses, alpha):
    weights = CVaR(alpha).weigh(np.arange(len(losses)), torch.empty(0), torch.tensor(losses, dtype=torch.float64))
    return float((weights.numpy() * losses).mean())


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (1.0, 3.0),  # the mean
        (0.4, (9 + 4) / 2),  # the worst two of five
        (0.5, (9 + 4 + 0.5 * 2) / 2.5),  # two and a half
        (0.1, 9.0),  # half of one: the worst alone
    ],
)
def test_sorted_closed_form(alpha, expected):
    assert value([0.0, 4.0, 9.0, 2.0, 0.0], alpha) == pytest.approx(expected)


@pytest.mark.parametrize("alpha", [0.03, 0.1, 0.37, 0.9])
def test_is_the_worst_reweighting_with_densities_up_to_1_over_alpha(alpha):
    """max over w in [0, 1/alpha]^B with mean 1 of mean(w loss), by a linear programme."""
    losses = np.random.default_rng(0).exponential(size=17)
    found = linprog(-losses / 17, A_eq=np.ones((1, 17)) / 17, b_eq=[1.0], bounds=(0, 1 / alpha))
    assert value(losses, alpha) == pytest.approx(-found.fun)


def test_reaches_a_minority_that_erm_does_not(world):
    before = world.accuracies(world.problem.erm())
    after = world.accuracies(fit_rival(RIVALS["cvar_dro"], world.problem).classifier)
    assert before[1:3].mean() < 0.5 < 0.8 < after[1:3].mean()
