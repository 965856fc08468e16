"""Features are computed once, and a head's figures are those of the classifier that has it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddb.learn import predict
from ddb.learn.validation import Held
from ddb.rivals.head import Head, head_of, put_head
from ddb.rivals.last_layer import features_of, head_figures, key, weights_hash
from rival_world import CPU


def test_features_are_computed_once_for_a_backbone(world, monkeypatch):
    erm = world.problem.erm().classifier
    once = features_of(world.problem, erm, "val")
    np.testing.assert_array_equal(once, predict.features(erm, world.problem.val.pixels, CPU, 128))

    def never(*arguments):
        raise AssertionError("computed again")

    monkeypatch.setattr(predict, "features", never)
    np.testing.assert_array_equal(features_of(world.problem, world.problem.erm().classifier, "val"), once)
    with pytest.raises(AssertionError):
        features_of(world.problem, world.problem.start().classifier, "val")


def test_the_hash_is_of_the_weights(world):
    one, other = world.problem.erm().classifier, world.problem.erm().classifier
    assert weights_hash(one) == weights_hash(other)
    put_head(other, Head(head_of(one).weight + 1, head_of(one).bias))
    assert weights_hash(one) != weights_hash(other)


@pytest.mark.parametrize("rule", ["worst_group", "worst_class", "mean", "counterfactual"])
def test_figures_are_the_validators(world, rule):
    pairs = Held(world.test.pixels[:40], world.test.labels[:40], 10 + world.test.labels[:40])
    problem = replace(world.problem, selection=rule, val_pairs=pairs)
    erm = world.problem.erm().classifier
    figures = head_figures(problem, erm)
    for shift in (0.0, 0.5):
        start = head_of(erm)
        head = Head(start.weight, start.bias + np.array([shift, 0.0]))
        put_head(erm, head)
        assert figures(head) == pytest.approx(problem.validate()(erm))


def test_the_rule_last_has_no_figures(world):
    problem = replace(world.problem, selection="last")
    assert head_figures(problem, problem.erm().classifier)(Head(None, None)) == ()


def test_keys_tell_settings_apart(world):
    budget = world.problem.fit
    assert key(budget, 3) == key(budget, 3)
    assert len({key(budget, 3), key(budget, 4), key(budget.model_copy(update={"lr": 0.5}), 3)}) == 3
