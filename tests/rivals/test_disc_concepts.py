"""DISC on planted concepts: each is a direction of the features, and what depends on it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import adjusted_rand_score

from ddb.rivals.disc_concepts import (
    Concepts,
    chosen_concepts,
    environments,
    explanations,
    learn_concepts,
    relevance,
    sensitivity,
    tendencies,
)
from ddb.rivals.head import Head

D = 6
BIRD, LAKE, SOFA = range(3)


def planted(seed: int = 0, n: int = 60) -> list[np.ndarray]:
    """Images of concept c lie 4 further along axis c than all others."""
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, D)) + 4 * np.eye(D)[c]).astype(np.float32) for c in range(3)]


def axes() -> Concepts:
    """The concepts as they were planted: margin 0 half way."""
    ones = np.ones(3)
    return Concepts(np.eye(3, D), -2 * ones, 4 * ones, -4 * ones, 2 * ones, -2 * ones, ones)


def test_concept_vectors_are_the_planted_directions():
    found = learn_concepts(planted(), 0.1, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1)
    # the negatives are the other concepts, so their axes enter with minus signs; its own stands out
    assert np.argmax(found.normals, axis=1).tolist() == [0, 1, 2]
    assert (found.normals[np.arange(3), np.arange(3)] > 0.7).all()
    assert found.accuracy.min() > 0.9
    assert (found.highest > found.inside).all() and (found.inside > 0).all() and (found.outside < 0).all()


def test_vectors_are_as_long_as_the_highest_margin():
    np.testing.assert_allclose(np.linalg.norm(axes().vectors, axis=1), 4)


def test_clusters_within_classes_are_the_planted_backgrounds():
    rng = np.random.default_rng(1)
    labels, lake = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    features = rng.normal(size=(300, D)) * 0.5
    features[:, BIRD] += 2 * labels
    features[:, LAKE] += 5 * lake
    found = environments(features.astype(np.float32), np.ones(300, bool), labels, 2, seed=0)
    for label in (0, 1):
        assert adjusted_rand_score(lake[labels == label], found[labels == label]) == 1
    again = environments(features.astype(np.float32), np.ones(300, bool), labels, 2, seed=0)
    np.testing.assert_array_equal(found, again)


def test_a_class_too_small_to_split_stays_whole():
    labels = np.array([0, 0, 0, 0, 0, 0, 1])
    features = np.random.default_rng(0).normal(size=(7, D)).astype(np.float32)
    assert environments(features, np.ones(7, bool), labels, 2, seed=0)[6] == 0


def test_explanations_use_the_concept_that_the_head_uses():
    """Class 1 is "far along the lake axis": moving there adds lake, and nothing where it is already there."""
    head = Head(np.stack([np.zeros(D), 4 * np.eye(D)[LAKE]]), np.array([0.0, -8.0]))
    dry = np.zeros((5, D), np.float32)
    scores, reached = explanations(dry, np.ones(5, int), head, axes(), np.random.default_rng(0))
    assert reached.all()
    assert (scores.argmax(axis=1) == LAKE).all()
    wet = dry + 9 * np.eye(D, dtype=np.float32)[LAKE]  # margin 7, above the highest
    scores, reached = explanations(wet, np.zeros(5, int), head, axes(), np.random.default_rng(0))
    assert (scores[:, LAKE] < 0).all()  # only less of it leads away
    scores, _ = explanations(wet, np.ones(5, int), head, axes(), np.random.default_rng(0))
    assert (scores[:, LAKE] <= 0).all()


def test_relevance_finds_the_concept_of_each_class():
    """Class 1 goes with lake, class 0 with sofa; the bird axis plays no part."""
    rng = np.random.default_rng(2)
    labels = np.arange(40) % 2
    features = (rng.normal(size=(40, D)) * 0.3).astype(np.float32)
    features[labels == 1, LAKE] += 3
    features[labels == 0, SOFA] += 3
    head = Head(np.stack([np.eye(D)[SOFA], np.eye(D)[LAKE]]) * 2, np.zeros(2))
    shares = relevance(features, labels, head, axes(), rng)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[1].argmax() == LAKE and shares[0].argmax() == SOFA


@pytest.mark.parametrize(
    ("mass", "most", "expected"),
    [(0.5, 20, [1]), (0.8, 20, [1, 3]), (0.8, 1, [1]), (0.1, 20, [1]), (1.1, 3, [1, 3, 0])],
)
def test_concepts_up_to_the_mass(mass, most, expected):
    assert chosen_concepts(np.array([0.15, 0.45, 0.1, 0.3]), mass, most) == expected


def test_tendencies_are_torchs_gradient_step():
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(9, D)).astype(np.float32), rng.integers(0, 3, 9)
    head, vectors = Head(rng.normal(size=(3, D)), rng.normal(size=3)), rng.normal(size=(4, D))
    weight, bias = (torch.from_numpy(values.copy()).requires_grad_(True) for values in (head.weight, head.bias))
    loss = F.cross_entropy(torch.from_numpy(features).double() @ weight.T + bias, torch.from_numpy(labels))
    slope_w, slope_b = torch.autograd.grad(loss, (weight, bias))
    expected = torch.softmax(-0.5 * (torch.from_numpy(vectors) @ slope_w.T + slope_b), dim=1)
    np.testing.assert_allclose(tendencies(features, labels, head, vectors, 0.5), expected.numpy(), atol=1e-8)


def test_sensitivity_is_high_for_the_concept_that_turns_over():
    """The bird goes with class 1 in both environments, the lake in one and not in the other."""
    rng, scores = np.random.default_rng(4), []
    labels = np.arange(200) % 2
    for sign in (1, -1):
        features = rng.normal(size=(200, D)) * 0.1
        features[:, BIRD] += 2 * labels - 1
        features[:, LAKE] += sign * (2 * labels - 1)
        scores.append(
            tendencies(features.astype(np.float32), labels, Head(np.zeros((2, D)), np.zeros(2)), axes().vectors, 1.0)
        )
    found = sensitivity(scores)
    assert found.shape == (2, 3)
    assert found[1, LAKE] > 10 * found[1, BIRD]
    np.testing.assert_allclose(found[1, LAKE], abs(scores[0][LAKE, 1] - scores[1][LAKE, 1]) / np.sqrt(2))
