"""What every rival promises: it gets what it declares, a search of the same size, and errors for people."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb.errors import ConfigError
from ddb.rivals import _HOMES, GRID, RIVALS, USES, Fitted, Rival, Settings, TrainingSettings, fit_rival, visible

RULES = ("worst_group", "worst_class", "counterfactual", "mean", "last")
NAMES = [name for name, home in _HOMES.items() if find_spec(f"ddb.rivals.{home.split(':')[0]}")]


def spy(uses, seen):
    def look(problem, settings):
        seen.append(problem)
        return Fitted(problem.start(), ())

    return Rival("spy", "Spy", frozenset(uses), Settings, ({},), look)


@given(uses=st.sets(st.sampled_from(USES)), selection=st.sampled_from(RULES))
def test_no_group_reaches_a_rival_that_does_not_ask(shared_world, uses, selection):
    """Whatever is declared, no more is handed over; without validation groups, selection falls back to classes."""
    seen = []
    fit_rival(spy(uses, seen), replace(shared_world.problem, selection=selection))
    (problem,) = seen
    if "train_groups" not in uses:
        assert problem.train_groups is None
    if not uses & {"val_groups", "val_groups_train"}:
        assert problem.val_groups is None
        assert problem.selection != "worst_group"
        assert np.array_equal(problem.held()[0].cells, problem.held()[0].labels)
    if "val_groups_train" not in uses and selection != "worst_group":
        assert problem.val_groups is None
    if "counterfactuals" not in uses:
        assert problem.counterfactuals is None


@pytest.mark.parametrize("selection", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_a_rival_gets_what_it_declares(name, selection, shared_world):
    rival = RIVALS[name]
    assert (rival.name, rival.uses <= set(USES)) == (name, True)
    seen = visible(replace(shared_world.problem, selection=selection), rival)
    assert (seen.train_groups is not None) == ("train_groups" in rival.uses)
    assert (seen.counterfactuals is not None) == ("counterfactuals" in rival.uses)
    selects = "val_groups" in rival.uses and selection == "worst_group"
    assert (seen.val_groups is not None) == (selects or "val_groups_train" in rival.uses)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_has_the_same_size_for_all_and_tries_valid_settings(name):
    grid = RIVALS[name].grid
    assert len(grid) == GRID
    assert len({RIVALS[name].settings(**values) for values in grid}) == GRID


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_is_described_and_bounded(name):
    for field in RIVALS[name].settings.model_fields.values():
        assert field.description


def test_budget_scales_the_shared_one(shared_world):
    budget = TrainingSettings(lr_scale=0.5, weight_decay_scale=100).budget(shared_world.problem.fit)
    assert (budget.lr, budget.weight_decay) == pytest.approx((0.015, 0.01))
    assert budget.epochs == shared_world.problem.fit.epochs


@pytest.mark.parametrize(
    ("uses", "missing", "said"),
    [
        ("train_groups", "train_groups", "Spy: trains with the group of every training image.*JTT, AFR and ddb"),
        ("val_groups", "val_groups", "Spy: needs the group of every validation image.*worst_class"),
        ("val_groups_train", "val_groups", "Spy: needs the group of every validation image.*AFR or ddb"),
        ("counterfactuals", "counterfactuals", "Spy: learns from generated images; run the stages up to prune"),
    ],
)
def test_missing_labels_are_named_with_what_would_serve_instead(shared_world, uses, missing, said):
    with pytest.raises(ConfigError, match=said):
        fit_rival(spy({uses}, []), replace(shared_world.problem, **{missing: None}))


@pytest.mark.parametrize(("uses", "split"), [("train_groups", "training"), ("val_groups_train", "validation")])
def test_an_empty_group_is_named(shared_world, uses, split):
    name = "train_groups" if uses == "train_groups" else "val_groups"
    groups = getattr(shared_world.problem, name)
    problem = replace(shared_world.problem, **{name: np.where(groups == 2, 3, groups)})
    with pytest.raises(ConfigError, match=f"no {split} image of the group red / blue"):
        fit_rival(spy({uses}, []), problem)


@pytest.mark.parametrize(
    ("values", "said"),
    [({"nonsense": 1}, "GroupDRO: nonsense.*knows lr_scale"), ({"step_size": -1}, "GroupDRO: step_size.*greater")],
)
def test_settings_that_a_rival_does_not_know(shared_world, values, said):
    with pytest.raises(ConfigError, match=said):
        fit_rival(RIVALS["group_dro"], shared_world.problem, values)


def test_counterfactual_selection_sees_the_held_out_pairs(shared_world):
    from ddb.learn.validation import Held

    pairs = Held(shared_world.problem.val.pixels[:4], np.array([0, 1, 0, 1]), np.array([2, 3, 4, 5]))
    problem = replace(shared_world.problem, selection="counterfactual", val_pairs=pairs, val_groups=None)
    assert problem.held()[1] is pairs
    assert len(problem.validate()(problem.start().classifier)) == 2
