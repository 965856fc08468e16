"""Figures against hand results, scikit-learn and the formulas of WILDS."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from ddb.learn import metrics
from ddb.records import Group


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe (1998), table I, method 3 (score interval)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_newcombes_score_interval(successes, n, low, high):
    assert metrics.wilson(successes, n) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_wilson_of_nothing_is_everything():
    assert metrics.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(pair):
    successes, n = pair
    low, high = metrics.wilson(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1
    mirrored = metrics.wilson(n - successes, n)
    assert mirrored == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))


def test_ece_by_hand():
    # Two bins of 15 are used: confidence 0.9 (one right, one wrong) and 0.6 (right).
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    labels = np.array([0, 1, 1])
    assert metrics.ece(probabilities, labels) == pytest.approx(2 / 3 * abs(0.9 - 0.5) + 1 / 3 * abs(0.6 - 1))


def test_ece_of_certain_and_right_is_zero():
    assert metrics.ece(np.eye(3), np.arange(3)) == 0


@given(arrays(np.int64, 40, elements=st.integers(0, 5)), arrays(np.bool_, 40))
def test_auroc_is_scikit_learns_with_ties(scores, positive):
    found = metrics.binary_auroc(scores.astype(float), positive)
    if positive.all() or not positive.any():
        assert found is None
    else:
        assert found == pytest.approx(roc_auc_score(positive, scores))


def test_auroc_of_three_classes_is_one_against_rest():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 60)
    labels = rng.integers(0, 3, 60)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics.auroc(probabilities, labels) == pytest.approx(expected)


# Six samples: (0, 0) right right, (0, 1) wrong, (1, 0) right wrong, (1, 1) right.
SIX_LABELS = np.array([0, 0, 0, 1, 1, 1])
SIX_ATTRIBUTES = np.array([0, 0, 1, 0, 0, 1])
SIX = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
TRAIN = {Group(0, 0): 70, Group(0, 1): 5, Group(1, 0): 5, Group(1, 1): 20}


def test_summary_of_six_samples_by_hand():
    figures = metrics.summarise(SIX, SIX_LABELS, SIX_ATTRIBUTES, TRAIN)
    assert figures["mean_accuracy"] == pytest.approx(4 / 6)
    assert figures["worst_group_accuracy"] == 0
    assert figures["worst_class_accuracy"] == pytest.approx(2 / 3)
    assert figures["adjusted_mean_accuracy"] == pytest.approx(0.7 * 1 + 0.05 * 0 + 0.05 * 0.5 + 0.2 * 1)
    assert figures["auroc"] == pytest.approx(roc_auc_score(SIX_LABELS, SIX[:, 1]))
    cells = [(g["label"], g["attribute"], g["n"], g["accuracy"]) for g in figures["groups"]]
    assert cells == [(0, 0, 2, 1.0), (0, 1, 1, 0.0), (1, 0, 2, 0.5), (1, 1, 1, 1.0)]
    assert (figures["groups"][0]["low"], figures["groups"][0]["high"]) == metrics.wilson(2, 2)


def test_adjusted_mean_of_waterbirds_as_the_papers_report_it():
    """methods-facts: accuracies 99.5/75/72.6/95 are 97.3 adjusted by the training groups 3498/184/56/1057."""
    accuracies = {Group(0, 0): 0.995, Group(0, 1): 0.75, Group(1, 0): 0.726, Group(1, 1): 0.95}
    rows = [{"label": g.label, "attribute": g.attribute, "accuracy": a} for g, a in accuracies.items()]
    counts = dict(zip(accuracies, (3498, 184, 56, 1057), strict=True))
    assert metrics.adjusted_mean(rows, counts) == pytest.approx(0.973, abs=5e-4)


def test_a_training_group_that_the_split_lacks_is_left_out():
    rows = [{"label": 0, "attribute": 0, "accuracy": 0.5}]
    assert metrics.adjusted_mean(rows, TRAIN) == pytest.approx(0.5)
    assert metrics.adjusted_mean(rows, {Group(9, 9): 4}) is None


def test_without_attributes_groups_are_classes_and_group_figures_unknown():
    for attributes in (None, np.full(6, metrics.UNKNOWN)):
        figures = metrics.summarise(SIX, SIX_LABELS, attributes, TRAIN)
        assert figures["worst_group_accuracy"] is None
        assert figures["adjusted_mean_accuracy"] is None
        assert [(g["label"], g["attribute"], g["n"]) for g in figures["groups"]] == [(0, None, 3), (1, None, 3)]


def test_samples_of_unknown_attribute_belong_to_no_group():
    attributes = np.array([0, 0, -1, 0, 0, 1])
    figures = metrics.summarise(SIX, SIX_LABELS, attributes, TRAIN)
    assert [(g["label"], g["attribute"]) for g in figures["groups"]] == [(0, 0), (1, 0), (1, 1)]
    assert figures["worst_group_accuracy"] == 0.5
    assert figures["mean_accuracy"] == pytest.approx(4 / 6)  # but to the mean


def test_one_class_alone_has_no_auroc():
    assert metrics.summarise(SIX[:3], SIX_LABELS[:3], None, {})["auroc"] is None
