"""DFR against scikit-learn's own pipeline, and by hand where a line separates two classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ddb.errors import DataError
from ddb.learn.predict import softmax
from ddb.learn.validation import lowest_accuracy
from ddb.rivals.dfr_regression import Grouped, Regression, averaged_head, balanced_rows, logistic_head, search


def draw(classes: int = 2, n: int = 240, dimensions: int = 6, seed: int = 0):
    """Features with unlike scales; two of them tell the classes apart, the next one the group."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    attributes = np.where(rng.random(n) < 0.8, labels % 2, 1 - labels % 2)
    features = rng.normal(size=(n, dimensions))
    features[:, 0] += labels
    features[:, 1] -= 0.7 * (labels == classes - 1)
    features[:, 2] += 2 * attributes
    features = features * np.geomspace(0.1, 30, dimensions) + 5
    return features.astype(np.float32), labels.astype(np.int64), (2 * labels + attributes).astype(np.int64)


def test_solution_is_scikit_learns_on_the_same_scaled_features():
    features, labels, _ = draw()
    everyone = np.arange(len(labels)) % 2  # two groups of one size: a balanced subset is all rows in another order
    scaler = StandardScaler().fit(features)
    ours = averaged_head(Grouped(features, labels, everyone, 2), Regression(0.3), 1, scaler, np.random.default_rng(0))
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, l1_ratio=1.0, solver="liblinear", tol=1e-8))
    theirs.fit(features, labels)
    np.testing.assert_allclose(softmax(ours.logits(features)), theirs.predict_proba(features), atol=2e-3)
    zero = theirs[-1].coef_[0] == 0
    assert zero.any() and np.array_equal(ours.weight[1] == 0, zero)  # L1: the same features are dropped


def test_three_classes_are_one_against_the_rest():
    features, labels, _ = draw(classes=3)
    head = logistic_head(features, labels, 3, Regression(0.5))
    theirs = OneVsRestClassifier(LogisticRegression(C=0.5, l1_ratio=1.0, solver="liblinear", random_state=0))
    theirs.fit(features, labels)
    np.testing.assert_allclose(head.logits(features), theirs.decision_function(features), atol=1e-6)


def test_average_of_draws_is_the_mean_of_scikit_learns_solutions():
    features, labels, groups = draw()
    scaler = StandardScaler().fit(features)
    ours = averaged_head(Grouped(features, labels, groups, 2), Regression(0.1), 5, scaler, np.random.default_rng(3))
    rng, odds = np.random.default_rng(3), []
    for _ in range(5):
        rows = balanced_rows(groups, rng)
        model = LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", random_state=int(rng.integers(2**31)))
        model.fit(scaler.transform(features[rows]), labels[rows])
        odds.append(model.decision_function(scaler.transform(features)))
    logits = ours.logits(features)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], np.mean(odds, axis=0), atol=1e-4)


def test_a_separable_set_by_hand():
    """Squares left and right of x = 0: whatever y says, every point falls on its side, and y gets no weight."""
    x, y = np.meshgrid([-2.0, -1.0, 1.0, 2.0], [-1.0, 0.0, 1.0])
    features = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64)
    head = logistic_head(features, labels, 2, Regression(1.0))
    assert (head.logits(features).argmax(axis=1) == labels).all()
    assert head.weight[1, 0] > 0 and head.weight[1, 1] == 0


def test_balanced_rows_hold_each_group_equally_often():
    groups = np.repeat([0, 1, 2, 3], [50, 3, 7, 20])
    rows = balanced_rows(groups, np.random.default_rng(0))
    assert np.bincount(groups[rows]).tolist() == [3, 3, 3, 3]
    assert len(set(rows.tolist())) == 12
    assert not np.array_equal(rows, balanced_rows(groups, np.random.default_rng(1)))


def test_an_empty_group_is_refused():
    with pytest.raises(DataError, match="1 of 3 groups have no image"):
        balanced_rows(np.array([0, 0, 2]), np.random.default_rng(0))


def test_a_missing_class_is_refused():
    with pytest.raises(DataError, match="1 of 2 classes have no image"):
        logistic_head(np.ones((3, 2), np.float32), np.zeros(3, np.int64), 2, Regression(1.0))


def test_search_takes_the_first_of_the_best():
    """A tiny C drops all features: every image of one class is wrong. Larger ones are all perfect."""
    labels = np.arange(40) % 2
    features = np.where(labels == 1, 1.0, -1.0)[:, None].astype(np.float32)

    def figures(head):
        return (lowest_accuracy(head.logits(features).argmax(axis=1) == labels, labels),)

    for strengths, expected in (([1e-6, 0.7, 1.0], 0.7), ([1.0, 0.7, 1e-6], 1.0)):
        how, seen = search(features, labels, 2, [Regression(c) for c in strengths], figures)
        assert (how.strength, seen) == (expected, (1.0,))
    how, seen = search(features, labels, 2, [Regression(0.1), Regression(1.0)], lambda head: ())
    assert (how.strength, seen) == (0.1, ())


def test_class_weights_are_scikit_learns():
    features, labels, _ = draw()
    head = logistic_head(features, labels, 2, Regression(0.1, "l2", (1.0, 10.0)))
    theirs = LogisticRegression(C=0.1, l1_ratio=0.0, solver="liblinear", class_weight={0: 1, 1: 10}, random_state=0)
    theirs.fit(features, labels)
    logits = head.logits(features)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], theirs.decision_function(features), atol=1e-6)
