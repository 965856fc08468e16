"""LfF's weights by hand, its biased gradient against autograd, and its two models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddb.learn.training.batches import Batch, losses
from ddb.rivals import RIVALS, fit_rival
from ddb.rivals.lff import Both, LfFSettings, RelativeDifficulty, fit_lff
from rival_world import CPU, build, start

LABELS = np.array([0, 0, 1, 1])


def weights(objective, rows, values):
    tensor = torch.tensor(values)
    return objective.weigh(np.array(rows), torch.empty(0), tensor).numpy()


def test_relative_difficulty_of_the_equation():
    found = weights(RelativeDifficulty(LABELS, 0.7, 0.0, False), [0, 2], [[0.2, 0.6], [3.0, 1.0]])
    assert found[:, 1] == pytest.approx([0.2 / 0.8, 3 / 4])
    assert found[:, 0] == pytest.approx([0.7 * np.exp(-0.2 * 0.7), 0.7 * np.exp(-3 * 0.7)])


def test_relative_difficulty_of_the_code():
    """util.py, EMA, and train.py, by hand: the first loss is taken whole, later ones by 0.3; then over the class's
    largest average."""
    objective = RelativeDifficulty(LABELS, 0.7, 0.7, True)
    weights(objective, [0, 1, 2], [[1.0, 2.0], [4.0, 1.0], [2.0, 2.0]])
    assert objective.state["averages"].tolist() == [[1, 2], [4, 1], [2, 2], [0, 0]]
    found = weights(objective, [0, 3], [[2.0, 0.0], [6.0, 4.0]])
    averages = {0: (0.7 * 1 + 0.3 * 2, 0.7 * 2), 3: (6.0, 4.0)}
    largest = {0: (4.0, averages[0][1]), 1: (6.0, 4.0)}  # of classes 0 (rows 0 and 1) and 1 (rows 2 and 3)
    for place, row in enumerate((0, 3)):
        biased, main = (a / top for a, top in zip(averages[row], largest[LABELS[row]], strict=True))
        assert found[place, 1] == pytest.approx(biased / (biased + main), rel=1e-5)


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_the_biased_gradient_is_the_generalised_cross_entropys(q):
    """GCE = (1 - p^q) / q; the code's loss has one more factor q."""
    torch.manual_seed(0)
    logits = torch.randn(6, 2, 3, requires_grad=True)
    labels = np.array([0, 1, 2, 0, 1, 2])
    values = losses(logits, Batch(np.arange(6)), labels)
    counted = RelativeDifficulty(labels, q, 0.7, True).weigh(np.arange(6), logits.detach(), values.detach())
    (found,) = torch.autograd.grad((values * counted)[:, 0].mean(), logits)
    p = F.softmax(logits[:, 0], dim=1)[torch.arange(6), torch.from_numpy(labels)]
    (expected,) = torch.autograd.grad(q * ((1 - p**q) / q).mean(), logits)
    torch.testing.assert_close(found, expected)


def test_two_models_as_one():
    one, other, images = start().classifier.model, start().classifier.model, torch.randn(3, 3, 32, 32)
    torch.nn.init.ones_(other.fc.weight)
    both = Both(one, other)(images)
    assert torch.equal(both[:, 0], one(images))
    assert torch.equal(both[:, 1], other(images))


def test_the_main_model_is_kept_and_selected(world):
    fitted = fit_rival(RIVALS["lff"], world.problem)
    assert type(fitted.classifier.classifier.model) is type(start().classifier.model)
    assert fitted.figures == world.problem.validate()(fitted.classifier.classifier)
    assert not torch.equal(fitted.classifier.classifier.head.weight, start().classifier.head.weight)


def test_a_finished_fit_gives_the_same_model_again(world):
    first = fit_rival(RIVALS["lff"], world.problem).classifier.classifier
    second = fit_rival(RIVALS["lff"], world.problem).classifier.classifier  # from the checkpoint
    assert torch.equal(first.head.weight, second.head.weight)


def test_reaches_a_minority_that_erm_does_not(tmp_path):
    """A fainter square and more time: the biased model has to learn the background well before the other departs."""
    world = build(tmp_path, step=40, epochs=7)
    problem = replace(world.problem, train_groups=None)
    before = world.accuracies(problem.erm())
    after = world.accuracies(fit_lff(problem, LfFSettings()).classifier)
    assert before.min() < 0.2
    assert after.min() > before.min() + 0.3
    assert CPU is problem.runtime
