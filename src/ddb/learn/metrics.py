"""Figures of a classifier over groups: accuracies with intervals, worst group, adjusted mean, calibration, ranking.

All figures are computed with numpy from probabilities. Unknown figures are None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ddb.data.table import NO_ATTRIBUTE
from ddb.records import Group

Z95 = 1.959963984540054
UNKNOWN = NO_ATTRIBUTE
"""Code of a missing attribute in integer arrays."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95% interval of a share, after Wilson (1927); (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # rounding may exceed [0, 1]


def ece(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (low, high] of the top probability, as Guo et al. (2017).

    probabilities: [N, K], labels: [N]; N > 0. The result is in [0, 1].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    return calibration_gap(confidence, probabilities.argmax(axis=1) == labels, bins)


def calibration_gap(confidence: npt.NDArray[np.float64], correct: npt.NDArray[np.bool_], bins: int) -> float:
    """`ece` from the top probabilities [N] and whether they are right."""
    gap = np.abs(np.bincount(confidence_bin(confidence, bins), correct - confidence, bins))
    return float(gap.sum() / len(correct))


def confidence_bin(confidence: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    """The bin (low, high] of each top probability, counted from 0: int64 [N]."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def binary_auroc(scores: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve by ranks, ties count half: `scores` [N], `positive` bool [N] -> [0, 1]. None where there
    is no positive or no negative."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[inverse][positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def auroc(probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> float | None:
    """Two classes: AUROC of class 1. More: mean one-against-rest AUROC over the classes that occur. `probabilities`
    [N, K], `labels` [N]; None where it is undefined."""
    if probabilities.shape[1] == 2:
        return binary_auroc(probabilities[:, 1], labels == 1)
    areas = [binary_auroc(probabilities[:, k], labels == k) for k in range(probabilities.shape[1])]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def group_rows(
    correct: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer], attributes: npt.NDArray[np.integer] | None
) -> list[dict[str, Any]]:
    """One row per group that occurs: label, attribute (None if no sample has one), n, accuracy, low, high."""
    if attributes is None or (attributes == UNKNOWN).all():
        cells = [(int(label), None, labels == label) for label in np.unique(labels)]
    else:
        pairs = sorted({(int(y), int(a)) for y, a in zip(labels, attributes, strict=True) if a != UNKNOWN})
        cells = [(y, a, (labels == y) & (attributes == a)) for y, a in pairs]  # type: ignore[misc]
    rows = []
    for label, attribute, inside in cells:
        n, right = int(inside.sum()), int(correct[inside].sum())
        low, high = wilson(right, n)
        rows.append({"label": label, "attribute": attribute, "n": n, "accuracy": right / n, "low": low, "high": high})
    return rows


def adjusted_mean(groups: list[dict[str, Any]], train_counts: Mapping[Group, int]) -> float | None:
    """Sum over groups of (share of the training set) x (accuracy), as WILDS and DFR report Waterbirds.

    Groups that the evaluated split lacks are left out and the other shares scaled to 1; None if nothing is left.
    """
    weights = [train_counts.get(Group(row["label"], row["attribute"]), 0) for row in groups]
    total = sum(weights)
    if total == 0:
        return None
    return float(sum(w * row["accuracy"] for w, row in zip(weights, groups, strict=True)) / total)


def summarise(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    attributes: npt.NDArray[np.integer] | None,
    train_counts: Mapping[Group, int],
) -> dict[str, Any]:
    """All figures of one classifier on one split, ready for JSON.

    probabilities [N, K] in [0, 1]; labels [N]; attributes [N] with UNKNOWN where missing, or None; train_counts: size
    of every training group. N > 0. Without attributes the group figures are None and `groups` holds the classes.
    """
    correct = probabilities.argmax(axis=1) == labels
    groups = group_rows(correct, labels, attributes)
    grouped = groups[0]["attribute"] is not None
    return {
        "worst_group_accuracy": min(row["accuracy"] for row in groups) if grouped else None,
        "mean_accuracy": float(correct.mean()),
        "adjusted_mean_accuracy": adjusted_mean(groups, train_counts) if grouped else None,
        "worst_class_accuracy": min(float(correct[labels == label].mean()) for label in np.unique(labels)),
        "ece": ece(probabilities, labels),
        "auroc": auroc(probabilities, labels),
        "groups": groups,
    }
