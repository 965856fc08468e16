"""DISC's computations on features: concept vectors, relevance of concepts to a class, environments, and sensitivity of
concepts over environments (Wu et al., ICML 2023, "Discover and Cure"; code: Wuyxin/DISC).

Features [N, D] are the input of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.svm import SVC

from ddb.learn.predict import Floats, softmax
from ddb.rivals.head import Doubles, Head

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Concepts:
    """Linear boundaries of C concepts. The margin of a feature is its signed distance from a boundary: `normals` [C, D]
    (unit vectors) @ feature + `offsets` [C]. `highest`, `lowest` [C]: largest and smallest margin of the SVM's training
    images; `inside`, `outside` [C]: mean of their positive and of their negative margins; `accuracy` [C]: of the SVM
    on held-out images."""

    normals: Doubles
    offsets: Doubles
    highest: Doubles
    lowest: Doubles
    inside: Doubles
    outside: Doubles
    accuracy: Doubles

    @property
    def vectors(self) -> Doubles:
        """[C, D]: the normals times the concept's highest margin (ConceptBank.normalized_concepts)."""
        return self.highest[:, None] * self.normals


def learn_concepts(features: Sequence[Floats], strength: float, rng: np.random.Generator) -> Concepts:
    """Concept activation vectors (Kim et al. 2018): for each concept a linear SVM with C = `strength` that separates
    its features [n, D] from n features drawn in equal numbers from the other concepts, trained on four fifths of both
    (cav_utils.get_cavs)."""
    found = []
    for index, positive in enumerate(features):
        others = [other for number, other in enumerate(features) if number != index]
        each = len(positive) // len(features) + 1
        negative = np.concatenate([other[rng.integers(len(other), size=each)] for other in others])
        found.append(_boundary(positive, rng.permutation(negative)[: max(2, len(positive))], strength))
    normals = np.stack([normal for normal, _ in found])
    return Concepts(normals, *np.array([numbers for _, numbers in found]).T)


def _boundary(positive: Floats, negative: Floats, strength: float) -> tuple[Doubles, tuple[float, ...]]:
    """The unit normal; offset, highest, lowest, mean margin inside and outside, held-out accuracy."""
    cuts = [max(1, int(0.8 * len(part))) for part in (positive, negative)]
    learned = np.concatenate([positive[: cuts[0]], negative[: cuts[1]]]).astype(np.float64)
    apart = np.concatenate([positive[cuts[0] :], negative[cuts[1] :]]).astype(np.float64)
    svm = SVC(C=strength, kernel="linear").fit(learned, np.arange(len(learned)) < cuts[0])
    length = float(np.linalg.norm(svm.coef_)) or 1.0
    normal, offset = svm.coef_[0] / length, float(svm.intercept_[0]) / length
    margins = learned @ normal + offset
    inside, outside = margins[margins > 0], margins[margins < 0]
    right = ((apart @ normal + offset > 0) == (np.arange(len(apart)) < len(positive) - cuts[0])).mean()
    numbers = (offset, margins.max(), margins.min(), _mean(inside), _mean(outside), right if len(apart) else np.nan)
    return normal, tuple(float(number) for number in numbers)


def _mean(values: Doubles) -> float:
    return float(values.mean()) if len(values) else 0.0


def explanations(
    features: Floats,
    targets: npt.NDArray[np.integer],
    head: Head,
    concepts: Concepts,
    rng: np.random.Generator,
    steps: int = 100,
) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Scores [N, C]: the amount of each concept that, added to a feature [N, D], changes its prediction to the class
    `targets` [N]; and bool [N]: whether the prediction changed.

    Conceptual counterfactuals (Abid et al. 2022; cce_utils.conceptual_counterfactual with its defaults): projected
    gradient descent with step 0.1 and momentum 0.9 on cross-entropy + (0.1 |w|_1 + 0.01 |w|_2) / C. Each score is
    clipped to the range in which the margin stays between the concept's `lowest` and `highest`; a concept that is
    already present is not added.
    """
    count = len(concepts.offsets)
    low, high = _ranges(features, concepts)
    scores, velocity = rng.standard_normal((len(features), count)), np.zeros((len(features), count))
    rows = np.arange(len(features))
    for _ in range(steps):
        slope = softmax(head.logits(features + scores @ concepts.vectors))
        slope[rows, targets] -= 1
        length = np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)
        penalty = (0.1 * np.sign(scores) + 0.01 * scores / length) / count
        velocity = 0.9 * velocity + slope @ head.weight @ concepts.vectors.T + penalty
        scores = np.clip(scores - 0.1 * velocity, low, high)
    reached: npt.NDArray[np.bool_] = head.logits(features + scores @ concepts.vectors).argmax(axis=1) == targets
    return scores, reached


def _ranges(features: Floats, concepts: Concepts) -> tuple[Doubles, Doubles]:
    """The lowest (<= 0) and highest (>= 0) score of every concept for every feature: [N, C] each."""
    margins = features.astype(np.float64) @ concepts.normals.T + concepts.offsets
    scale = np.where(concepts.highest > 0, concepts.highest, 1.0)
    high = np.where(margins > concepts.inside, 0.0, (concepts.highest - margins) / scale)
    low = np.where(margins < concepts.outside, 0.0, (concepts.lowest - margins) / scale)
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def relevance(
    features: Floats, labels: Rows, head: Head, concepts: Concepts, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Relevance of C concepts to K classes: [K, C], rows summing to 1. It is the softmax over concepts of (mean score
    of changes to the class - mean score of changes away from it). A correct prediction is changed to every other class,
    a wrong one to the true class (the code's filter_concepts)."""
    classes, predicted = len(head.bias), head.logits(features).argmax(axis=1)
    towards: list[list[Doubles]] = [[] for _ in range(classes)]
    away: list[list[Doubles]] = [[] for _ in range(classes)]
    for target in range(classes):
        moved = np.flatnonzero((predicted == labels) != (labels == target))
        if not len(moved):
            continue
        scores, reached = explanations(features[moved], np.full(len(moved), target), head, concepts, rng)
        towards[target].extend(scores[reached])
        for label in set(range(classes)) - {target}:
            away[label].extend(scores[reached & (labels[moved] == label)])
    nothing = np.zeros(len(concepts.offsets))
    means = [[np.mean(part, axis=0) if part else nothing for part in side] for side in (towards, away)]
    return softmax(np.array(means[0]) - np.array(means[1]))


def chosen_concepts(shares: npt.NDArray[np.float64], mass: float, most: int) -> list[int]:
    """The most relevant concepts whose `shares` [C] sum to at most `mass`: at least one, at most `most`."""
    order = np.argsort(-shares, kind="stable")
    within = int((np.cumsum(shares[order]) <= mass).sum())
    return [int(concept) for concept in order[: max(1, min(within, most))]]


def environments(features: Floats, correct: npt.NDArray[np.bool_], labels: Rows, clusters: int, seed: int) -> Rows:
    """The cluster of every image: int64 [N] in 0..clusters-1. Within each class, features and correctness of the
    prediction are projected to two principal components (the code uses UMAP, which scikit-learn lacks) and clustered
    with a Gaussian mixture. A class of fewer images than clusters has cluster 0 alone."""
    assigned = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < max(2, clusters):
            continue
        seen = np.concatenate([features[rows], correct[rows, None]], axis=1).astype(np.float64)
        plane = PCA(min(2, *seen.shape), random_state=seed).fit_transform(seen)
        assigned[rows] = GaussianMixture(clusters, random_state=seed, n_init=3).fit_predict(plane)
    return assigned


def tendencies(features: Floats, labels: Rows, head: Head, vectors: Doubles, rate: float) -> Doubles:
    """Concept tendency scores [C, K] of the images of one environment: softmax over classes of minus the change of the
    concepts' logits by `rate` times the last layer's gradient (the code's get_cts)."""
    slope = softmax(head.logits(features))
    slope[np.arange(len(labels)), labels] -= 1
    slope /= len(labels)
    change = rate * (vectors @ (slope.T @ features.astype(np.float64)).T + slope.sum(axis=0))
    return softmax(-change)


def sensitivity(scores: Sequence[Doubles]) -> Doubles:
    """[K, C]: standard deviation (n - 1) of a concept's tendency to a class over the environments' scores [C, K]."""
    spread: Doubles = np.std(np.stack(scores), axis=0, ddof=1).T
    return spread
