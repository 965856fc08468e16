"""Clusters of vectors, and how probable each is for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

Vectors = npt.NDArray[np.float32]
DIMENSIONS = 16
"""Principal components that are clustered; the others are mostly noise."""
MOST = 8
"""Most clusters that are tried."""
STARTS = 4
SAMPLE = 2000
"""Vectors, drawn at random, that numbers of clusters are compared on."""


@dataclass(frozen=True)
class Clusters:
    """`probabilities` float64 [N, K], rows sum to 1; `silhouette` of the clusters in [-1, 1], on the sample."""

    probabilities: npt.NDArray[np.float64]
    silhouette: float

    @property
    def members(self) -> npt.NDArray[np.int64]:
        """The most probable cluster of each vector, [N]."""
        found: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return found

    @property
    def count(self) -> int:
        return int(self.probabilities.shape[1])


def find_clusters(vectors: Vectors, fitted: npt.NDArray[np.bool_], seed: int) -> Clusters:
    """k-means in the principal components of `vectors` [N, D]. Both are fitted to the rows `fitted` (two or more
    different ones) and applied to all. The number of clusters, 2 to `MOST`, is the one with the highest silhouette
    (Rousseeuw 1987) on a random sample.

    Probabilities are those of a mixture of spherical Gaussians with the clusters' centres and their common variance,
    with equal weights. The same vectors and seed give the same clusters."""
    own = vectors[fitted].astype(np.float64)
    pca = PCA(min(DIMENSIONS, *own.shape), svd_solver="full").fit(own)
    points = pca.transform(own)
    state = seed % 2**32
    sample = points[np.random.default_rng(seed).permutation(len(points))[:SAMPLE]]
    most = min(MOST, len(np.unique(sample.round(9), axis=0)) - 1)
    best = (
        max((_silhouette(sample, _k_means(count, state).fit_predict(sample)), -count) for count in range(2, most + 1))
        if most >= 2
        else (0.0, -2)
    )
    model = _k_means(-best[1], state).fit(points)
    variance = max(model.inertia_ / points.size, np.finfo(np.float64).tiny)
    squares = model.transform(pca.transform(vectors.astype(np.float64))) ** 2
    odds = np.exp(-(squares - squares.min(axis=1, keepdims=True)) / (2 * variance))
    return Clusters(odds / odds.sum(axis=1, keepdims=True), best[0])


def without(
    vectors: Vectors, members: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], fitted: npt.NDArray[np.bool_]
) -> Vectors:
    """The vectors without what their cluster adds to them: least squares of the rows `fitted` on clusters and classes
    (`members` and `labels` [N], additive), of which the clusters' part is subtracted. A second shortcut, which goes
    with the class too, stays whole; the mean of a cluster would take a part of it away."""
    clusters, classes = (np.eye(int(codes.max()) + 1)[codes] for codes in (members, labels))
    design = np.concatenate([clusters, classes], axis=1)
    own = design[fitted]
    weights = np.linalg.pinv(own.T @ own) @ (own.T @ vectors[fitted])
    return np.asarray(vectors - clusters @ weights[: clusters.shape[1]], np.float32)


def _k_means(count: int, state: int) -> Any:
    return KMeans(count, n_init=STARTS, random_state=state)


def _silhouette(points: npt.NDArray[np.float64], members: npt.NDArray[np.int64]) -> float:
    return float(silhouette_score(points, members)) if len(np.unique(members)) > 1 else -1.0
