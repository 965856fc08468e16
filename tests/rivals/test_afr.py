"""AFR's weights by the formula, its objective and descent against scipy's optimiser and torch's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import check_grad, minimize

from ddb.rivals import RIVALS, afr, fit_rival
from ddb.rivals.afr import Weighted, afr_weights, descend, objective, split_rows
from ddb.rivals.head import Head


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)).astype(np.float32)
    labels = (features[:, 0] + 0.5 * rng.normal(size=60) > 0.5).astype(np.int64) + (features[:, 1] > 1)
    start = Head(0.5 * rng.normal(size=(3, 4)), 0.1 * rng.normal(size=3))
    weights = rng.dirichlet(np.ones(60))
    return features, labels, weights, start


def flat(head):
    return np.concatenate([head.weight.ravel(), head.bias])


def head_from(values, like):
    size = like.weight.size
    return Head(values[:size].reshape(like.weight.shape), values[size:])


def test_weights_by_hand():
    """Two images of class 0 and one of class 1, gamma = ln 4: exp(-gamma p) is 4^-p."""
    p, labels = np.array([0.5, 1.0, 0.0]), np.array([0, 0, 1])
    np.testing.assert_allclose(afr_weights(p, labels, np.log(4), balance=False), np.array([2, 1, 4]) / 7)
    # class balance: 3/2 for class 0, 3 for class 1
    np.testing.assert_allclose(afr_weights(p, labels, np.log(4)), np.array([3, 1.5, 12]) / 16.5)


def test_gamma_zero_weighs_classes_alone():
    weights = afr_weights(np.array([0.1, 0.9, 0.5, 0.2]), np.array([0, 0, 0, 1]), 0.0)
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_objective_is_torchs_and_its_gradient_the_numerical_one(problem):
    features, labels, weights, start = problem
    head = Head(start.weight + 0.3, start.bias - 0.2)
    value, _ = objective(head, start, features, labels, weights, 0.7)
    losses = F.cross_entropy(torch.from_numpy(head.logits(features)), torch.from_numpy(labels), reduction="none")
    expected = float((torch.from_numpy(weights) * losses).sum()) + 0.7 * (12 * 0.09 + 3 * 0.04)
    assert value == pytest.approx(expected, rel=1e-9)

    def f(x):
        return objective(head_from(x, start), start, features, labels, weights, 0.7)[0]

    def gradient(x):
        return flat(objective(head_from(x, start), start, features, labels, weights, 0.7)[1])

    assert check_grad(f, gradient, flat(head)) < 1e-5


def test_descent_ends_at_scipys_minimum(problem):
    features, labels, weights, start = problem
    heads = list(descend(start, Weighted(features, labels, weights), 0.05, rate=0.5, steps=2000))
    best = minimize(
        lambda x: objective(head_from(x, start), start, features, labels, weights, 0.05)[0], flat(start), tol=1e-12
    )
    np.testing.assert_allclose(flat(heads[-1]), best.x, atol=1e-4)


def test_descent_is_torchs_sgd_with_clipped_gradients(problem):
    features, labels, weights, start = problem
    layer = torch.nn.Linear(4, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(3 * start.weight))  # far off: the gradient's norm is above the limit
        layer.bias.copy_(torch.from_numpy(start.bias))
    begin = Head(3 * start.weight, start.bias)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.2)
    heads = list(descend(begin, Weighted(10 * features, labels, weights), 0.1, rate=0.2, steps=5))
    x, y, mu = torch.from_numpy(10 * features).double(), torch.from_numpy(labels), torch.from_numpy(weights)
    w0, b0 = layer.weight.detach().clone(), layer.bias.detach().clone()
    for head in heads:
        optimiser.zero_grad()
        loss = (mu * F.cross_entropy(layer(x), y, reduction="none")).sum()
        (loss + 0.1 * ((layer.weight - w0).pow(2).sum() + (layer.bias - b0).pow(2).sum())).backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimiser.step()
        np.testing.assert_allclose(head.weight, layer.weight.detach().numpy(), atol=1e-10)
        np.testing.assert_allclose(head.bias, layer.bias.detach().numpy(), atol=1e-10)


def test_the_split_is_the_same_for_all_seeds_and_leaves_none_out():
    first, second = split_rows(50, 0.8)
    assert (len(first), len(second)) == (40, 10)
    assert sorted([*first, *second]) == list(range(50))
    np.testing.assert_array_equal(first, split_rows(50, 0.8)[0])


def test_the_minority_is_right_where_erm_has_it_wrong(world):
    fitted = fit_rival(RIVALS["afr"], world.problem, {"gamma": 4.0, "rate": 0.3})
    assert world.accuracies(world.problem.erm()).min() == 0
    assert world.accuracies(fitted.classifier).min() > 0.9
    assert fitted.facts["step"] > 0 and fitted.facts["images_reweighted"] == 64


def test_stage_one_is_trained_once_on_its_part_alone(world, monkeypatch):
    seen, real = [], afr.train

    def spy(problem, loaded, material, budget, phase, facts=None):
        rows = [batch.rows for batch in material.plan(torch.Generator(), loaded.classifier)]
        seen.append(set(np.concatenate(rows).tolist()))
        return real(problem, loaded, material, budget, phase, facts)

    monkeypatch.setattr(afr, "train", spy)
    first, second = (fit_rival(RIVALS["afr"], world.problem, {"gamma": gamma, "steps": 3}) for gamma in (4.0, 8.0))
    assert seen[0] <= set(split_rows(len(world.problem.train.labels), 0.8)[0].tolist())
    bodies = [fitted.classifier.classifier.model.body.state_dict() for fitted in (first, second)]
    assert all(torch.equal(bodies[0][name], bodies[1][name]) for name in bodies[0])


def test_the_rule_last_keeps_the_last_step(world):
    fitted = fit_rival(RIVALS["afr"], replace(world.problem, selection="last"), {"steps": 7})
    assert (fitted.figures, fitted.facts["step"]) == ((), 7)
