"""DFR on the world of squares: it classifies the groups that ERM misclassifies, and equals scikit-learn's solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ddb.errors import ConfigError
from ddb.learn.predict import features, logits, softmax
from ddb.rivals import RIVALS, fit_rival
from rival_world import CPU


@pytest.mark.parametrize("name", ["dfr_val", "dfr_train"])
def test_the_minority_is_right_where_erm_has_it_wrong(world, name):
    before = world.accuracies(world.problem.erm())
    fitted = fit_rival(RIVALS[name], world.problem)
    assert before.min() == 0
    assert world.accuracies(fitted.classifier).min() > 0.9
    assert fitted.figures[0] > 0.9
    assert fitted.facts["C"] in RIVALS[name].settings().strengths


@pytest.mark.parametrize("name", ["dfr_val", "dfr_train"])
def test_only_the_last_layer_changes_and_a_seed_fixes_it(world, name):
    once, again = (fit_rival(RIVALS[name], world.problem).classifier.classifier.model.state_dict() for _ in range(2))
    shared = world.problem.erm().classifier.model.state_dict()
    changed = {key for key in shared if not torch.equal(shared[key], once[key])}
    assert changed == {"fc.weight", "fc.bias"}
    assert all(torch.equal(once[key], again[key]) for key in once)
    other = fit_rival(RIVALS[name], replace(world.problem, seed=1)).classifier.classifier.model.state_dict()
    assert not torch.equal(once["fc.weight"], other["fc.weight"])


def test_the_classifier_is_scikit_learns_pipeline_where_there_is_nothing_to_draw(world):
    """Validation groups are equally large, so that every balanced subset is all of them: one draw is one fit."""
    values = {"strengths": (0.1,), "draws": 1, "scaler": "val"}
    found = fit_rival(RIVALS["dfr_val"], world.problem, values).classifier.classifier
    seen = features(world.problem.erm().classifier, world.problem.val.pixels, CPU, 50)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", tol=1e-8))
    theirs.fit(seen, world.problem.val.labels)
    tested = features(world.problem.erm().classifier, world.test.pixels, CPU, 50)
    np.testing.assert_allclose(
        softmax(logits(found, world.test.pixels, CPU, 50)), theirs.predict_proba(tested), atol=0.02
    )


def test_class_weights_are_searched_where_asked_for(world):
    fitted = fit_rival(RIVALS["dfr_train"], world.problem, {"class_weights": (1000.0,), "strengths": (1e-4,)})
    assert fitted.facts["class_weights"] in ("1000, 1", "1, 1000")


def test_dfr_train_without_groups_to_select_with_uses_classes(world):
    fitted = fit_rival(RIVALS["dfr_train"], replace(world.problem, selection="worst_class", val_groups=None))
    assert world.accuracies(fitted.classifier).min() > 0.9
    last = fit_rival(RIVALS["dfr_train"], replace(world.problem, selection="last", val_groups=None))
    assert (last.figures, last.facts["C"]) == ((), 1.0)


def test_without_validation_groups_dfr_val_says_what_serves_instead(world):
    with pytest.raises(ConfigError, match="group of every validation image.*use AFR or ddb"):
        fit_rival(RIVALS["dfr_val"], replace(world.problem, val_groups=None))
