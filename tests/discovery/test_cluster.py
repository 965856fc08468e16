"""Clusters of vectors whose clusters are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from ddb.discovery.cluster import find_clusters, without


def blobs(count: int, spread: float = 0.05, size: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = np.eye(20)[:count]
    truth = np.repeat(np.arange(count), size)
    return (centres[truth] + spread * rng.standard_normal((len(truth), 20))).astype(np.float32), truth


@pytest.mark.parametrize("count", [2, 3, 6])
def test_the_number_of_clusters_is_found(count: int) -> None:
    vectors, truth = blobs(count)
    found = find_clusters(vectors, np.ones(len(truth), bool), 0)
    assert found.count == count
    assert adjusted_rand_score(truth, found.members) == 1
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_probabilities_are_those_of_a_spherical_mixture() -> None:
    vectors, truth = blobs(2, spread=0.35, size=300)
    found = find_clusters(vectors, np.ones(len(truth), bool), 0)
    own = vectors.astype(float)
    means = np.stack([own[found.members == k].mean(axis=0) for k in (0, 1)])
    order = np.argsort(means[:, 0])
    answer = (
        GaussianMixture(2, covariance_type="spherical", random_state=0, means_init=means).fit(own).predict_proba(own)
    )
    assert found.probabilities[:, order[0]] == pytest.approx(answer[:, order[0]], abs=0.25)
    assert np.corrcoef(found.probabilities[:, 0], answer[:, 0])[0, 1] > 0.95


def test_other_rows_are_assigned_and_do_not_shape_the_clusters() -> None:
    vectors, truth = blobs(2)
    far = np.full((30, 20), 5.0, np.float32)
    both = np.concatenate([vectors, far])
    fitted = np.arange(len(both)) < len(vectors)
    alone = find_clusters(vectors, np.ones(len(truth), bool), 0)
    found = find_clusters(both, fitted, 0)
    assert found.count == 2
    assert adjusted_rand_score(found.members[: len(truth)], alone.members) == 1


def test_the_same_seed_gives_the_same_clusters() -> None:
    vectors, truth = blobs(4, spread=0.3)
    first, second = (find_clusters(vectors, np.ones(len(truth), bool), 3) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)


def test_what_clusters_add_is_taken_away_and_what_classes_add_is_not() -> None:
    """Cluster and class go together; the class has a part of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    members = np.where(rng.random(400) < 0.9, labels, 1 - labels)
    place, light = np.eye(4)[0], np.eye(4)[1]
    vectors = (members[:, None] * place + labels[:, None] * light).astype(np.float32)
    rest = without(vectors, members, labels, np.ones(400, bool))
    difference = rest[labels == 1].mean(axis=0) - rest[labels == 0].mean(axis=0)
    np.testing.assert_allclose(difference, light, atol=1e-5)
    np.testing.assert_allclose(
        rest[(labels == 1) & (members == 1)][0], rest[(labels == 1) & (members == 0)][0], atol=1e-5
    )
