"""ERM is the shared model, until a search asks for other settings."""

from __future__ import annotations

import torch

from ddb.rivals import RIVALS, fit_rival


def test_defaults_are_the_shared_model(world):
    fitted = fit_rival(RIVALS["erm"], world.problem)
    shared = world.problem.erm()
    assert torch.equal(fitted.classifier.classifier.head.weight, shared.classifier.head.weight)
    assert fitted.figures == world.problem.validate()(shared.classifier)
    assert not world.problem.folder.exists()


def test_other_settings_are_trained(world):
    fitted = fit_rival(RIVALS["erm"], world.problem, {"weight_decay_scale": 100})
    assert not torch.equal(fitted.classifier.classifier.head.weight, world.problem.erm().classifier.head.weight)
    assert 1 <= fitted.facts["epoch"] <= world.problem.fit.epochs
    assert world.accuracies(fitted.classifier)[[0, 3]].min() > 0.9
