"""FFR's synthetic set and its two phases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddb.learn.training.fit import Images
from ddb.rivals import RIVALS, Fitted, Generated, ffr, fit_rival
from ddb.rivals.ffr import synthetic_set
from rival_world import start


def numbered(numbers, labels):
    """Images whose every pixel is their number."""
    pixels = np.broadcast_to(np.array(numbers, np.uint8)[:, None, None, None], (len(numbers), 2, 2, 3)).copy()
    return Images(pixels, np.array(labels))


TRAIN = numbered([0, 1, 2, 3], [0, 0, 1, 1])
GENERATED = Generated(numbered([100, 101, 120], [1, 1, 0]), np.array([0, 0, 1]), np.array([0, 0, 3]))


def test_sources_fill_the_cells_that_have_no_generated_image():
    images, cells = synthetic_set(GENERATED, TRAIN, "sources")
    shown = images.pixels[np.arange(5)][:, 0, 0, 0]
    cell = {number: divmod(int(c), 2) for number, c in zip(shown, cells, strict=True)}  # (label, background)
    assert cell == {100: (1, 0), 101: (1, 0), 120: (0, 1), 0: (0, 0), 3: (1, 1)}  # sources once each
    assert images.labels.tolist() == [1, 1, 0, 0, 1]


def test_or_the_generated_images_stand_alone():
    images, cells = synthetic_set(GENERATED, TRAIN, "nothing")
    assert len(images.labels) == 3
    assert len(set(cells)) == 2


@pytest.fixture
def phases(monkeypatch):
    calls = []

    def watch(problem, loaded, material, budget, phase, facts=None):
        calls.append((phase, loaded, material, budget))
        with torch.no_grad():
            loaded.classifier.head.bias += 1
        return Fitted(loaded, (0.5,), {"epoch": 3, **(facts or {})})

    monkeypatch.setattr(ffr, "train", watch)
    return calls


def test_first_synthetic_images_then_real_ones_from_there(world, phases):
    fitted = fit_rival(RIVALS["ffr"], world.problem, {"first_epochs": 2, "first_lr_scale": 0.1})
    (one, first, synthetic, budget), (two, second, real, rest) = phases
    assert (one, two) == ("synthetic", "real")
    assert second is first  # all layers go on
    assert (budget.epochs, budget.lr) == (2, pytest.approx(0.1 * world.problem.fit.lr))
    assert (rest.epochs, rest.lr) == (world.problem.fit.epochs, world.problem.fit.lr)
    assert real.train is world.problem.train
    assert real.plan is None
    assert len(synthetic.train.labels) == 600
    assert torch.equal(first.classifier.head.bias, start().classifier.head.bias + 2)
    assert (fitted.facts["synthetic_images"], fitted.facts["synthetic_epoch"]) == (300, 3)


def test_phase_1_draws_every_cell_equally_often(world, phases):
    fit_rival(RIVALS["ffr"], world.problem)
    material = phases[0][2]
    rows = np.concatenate([b.rows for b in material.plan(torch.Generator().manual_seed(0), None)])
    made = world.problem.counterfactuals
    backgrounds = np.concatenate([made.from_labels, world.problem.train.labels[np.unique(made.sources)]])
    cells = 2 * material.train.labels[rows] + backgrounds[rows]
    assert np.bincount(cells, minlength=4) / len(rows) == pytest.approx([0.25] * 4, abs=0.08)


@pytest.mark.parametrize("lr_scale", [1.0, 0.3])
def test_reaches_the_minority_that_erm_does_not(world, lr_scale):
    before = world.accuracies(world.problem.erm())
    after = world.accuracies(fit_rival(RIVALS["ffr"], world.problem, {"lr_scale": lr_scale}).classifier)
    assert before.min() < 0.5 < 0.9 < after.min()
