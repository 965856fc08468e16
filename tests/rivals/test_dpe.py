"""DPE on the world of squares, and its heads against those of the authors' package."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ddb.learn.predict import features, logits, softmax
from ddb.rivals import RIVALS, dpe, fit_rival
from ddb.rivals.prototypes import PrototypeEnsemble, Prototypes, standardised
from rival_world import CPU

QUICK = {"heads": 3, "epochs": 10, "rate": 0.05, "diversity": 100.0}
LONG = {**QUICK, "heads": 1, "epochs": 300, "rate": 0.2, "pull": 0.0, "batch_size": 32}
rng = np.random.default_rng(0)
FEATURES = rng.normal(size=(64, 12)).astype(np.float32)
LABELS = (FEATURES[:, 0] > 0).astype(np.int64)


def test_the_minority_is_right_where_erm_has_it_wrong(world):
    before = world.accuracies(world.problem.erm())
    fitted = fit_rival(RIVALS["dpe"], world.problem, {**LONG, "balance": "group"})
    assert before.min() == 0
    assert world.accuracies(fitted.classifier).min() > 0.9
    assert fitted.facts["heads"] == 1


def test_the_cells_of_counterfactuals_replace_groups(world):
    """Counterfactuals of this world are minority images: heads on their cells are right where ERM is wrong."""
    fitted = fit_rival(RIVALS["dpe_ddb"], world.problem, {**LONG, "epochs": 30, "rate": 0.3, "batch_size": 64})
    assert world.accuracies(fitted.classifier).min() > 0.8


def test_only_the_last_layer_changes_and_a_seed_fixes_it(world):
    once, again = (fit_rival(RIVALS["dpe"], world.problem, QUICK).classifier.classifier for _ in range(2))
    shared = world.problem.erm().classifier.model.state_dict()
    own = once.model.state_dict()
    assert set(own) - set(shared) == {"fc.points", "fc.scales"}
    assert all(torch.equal(own[name], shared[name]) for name in set(own) & set(shared))
    assert all(torch.equal(own[name], again.model.state_dict()[name]) for name in own)


def test_the_classifier_predicts_what_its_heads_predict_from_features(world):
    found = fit_rival(RIVALS["dpe"], world.problem, QUICK).classifier.classifier
    seen = features(world.problem.erm().classifier, world.test.pixels, CPU, 50)
    np.testing.assert_allclose(
        softmax(logits(found, world.test.pixels, CPU, 50)), softmax(found.head.logits(seen)), atol=1e-6
    )


def test_the_ensemble_is_the_mean_of_the_softmaxes():
    heads = [Prototypes(torch.randn(3, 12), scale) for scale in (1.0, -2.5, 7.0)]
    each = [softmax(PrototypeEnsemble([head]).logits(FEATURES)) for head in heads]
    np.testing.assert_allclose(softmax(PrototypeEnsemble(heads).logits(FEATURES)), np.mean(each, axis=0), atol=1e-6)


def test_heads_are_those_of_the_authors_package():
    """Whole batches, so that only the first prototypes are drawn: with the same ones, every head is the same."""
    pytest.importorskip("pandas")
    with pytest.MonkeyPatch.context() as patch:  # its figures need more packages, and are not used here
        patch.setitem(sys.modules, "dpe.eval_helpers", SimpleNamespace(eval_metrics=None))
        core = pytest.importorskip("dpe.core")
    settings = dpe.DpeSettings(epochs=7, rate=0.02, diversity=300.0, batch_size=64)
    x, y = standardised(torch.from_numpy(FEATURES)), torch.from_numpy(LABELS)
    ours: list[Prototypes] = []
    theirs: list = []
    figures = iter(range(100))
    for seed in range(3):
        torch.manual_seed(seed)
        ours.append(dpe.train_head(x, y, ours, settings, lambda head: (float(next(figures)),)))
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Identity(), core.IsoMaxPlusLossFirstPart(12, 2))
        with torch.no_grad():
            torch.manual_seed(seed)
            model[-1].prototypes.copy_(torch.randn(2, 12) * dpe.INITIAL)
        theirs.append(_trained_by_them(core, model, theirs, settings, x, y))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.points, other[0][:, 0], rtol=1e-4, atol=1e-5)
        assert own.scale == pytest.approx(float(other[1]), rel=1e-4)


def _trained_by_them(core, model, ensemble, settings, x, y):
    """A head of `dpe.core._train_prototypes`, its validation figure fixed so that the last epoch is kept."""
    loader = [(None, None, y, None, x)]
    wanted = {"min_group": {"accuracy": 1.0}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "_evaluate", lambda *_, **__: wanted)
        return core._train_prototypes(
            loader, None, model, list(ensemble), epochs=settings.epochs, cov_reg=settings.diversity,
            wd_weight=settings.pull, device="cpu", entropic=settings.entropic, lr=settings.rate,
        )  # fmt: skip
