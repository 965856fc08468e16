"""Deep Feature Reweighting (Kirichenko, Izmailov and Wilson, ICLR 2023; code: PolinaKirichenko/
deep_feature_reweighting, dfr_evaluate_spurious.py).

The backbone of the ERM model is frozen. On its standardised features, L1 logistic regressions (liblinear, which
penalises the intercept too) are fitted to random subsets in which all groups have the size of the smallest, and their
coefficients are averaged. C is searched first: the first of the strengths with the highest worst-group accuracy.

- dfr_val trains on the validation images and their groups. C: fitted to a balanced half, judged by the other half.
- dfr_train trains on the training images and their groups. C: judged by all validation images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ddb.errors import DataError
from ddb.learn.predict import Floats
from ddb.learn.validation import lowest_accuracy
from ddb.rivals.head import Head, average, unscaled

Rows = npt.NDArray[np.int64]
TUNING_STEPS = 20
"""max_iter of dfr_train's search (dfr_train_subset_tune); elsewhere liblinear's 100."""


def balanced_rows(groups: npt.NDArray[np.int64], rng: np.random.Generator) -> Rows:
    """Random rows of every group, as many as the smallest group has, group after group. Groups are 0, 1, ...; DataError
    where one of them is empty."""
    sizes = np.bincount(groups)
    if not sizes.all():
        raise DataError(
            f"DFR: group {int(sizes.argmin())} of {len(sizes)} has no image to train on: a balanced subset is empty."
        )
    return np.concatenate([rng.permutation(np.flatnonzero(groups == g))[: sizes.min()] for g in range(len(sizes))])


def logistic_head(
    features: Floats, labels: npt.NDArray[np.int64], classes: int, strength: float, steps: int = 100, seed: int = 0
) -> Head:
    """L1 logistic regression with C = `strength`. Two classes: softmax of the head is scikit-learn's probability; more:
    one class against the rest each. DataError where a class has no image."""
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing:
        raise DataError(f"DFR: class {missing[0]} has no image in a balanced subset; it needs images of all classes.")
    solutions = []
    for label in range(classes) if classes > 2 else [1]:
        model = LogisticRegression(C=strength, l1_ratio=1.0, solver="liblinear", max_iter=steps, random_state=seed)
        model.fit(features, labels == label)
        solutions.append((model.coef_[0], model.intercept_[0]))
    weight, bias = np.stack([w for w, _ in solutions]), np.array([b for _, b in solutions])
    if classes == 2:  # log-odds z of class 1 -> logits (-z / 2, z / 2)
        return Head(np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2)
    return Head(weight, bias)


def search_strength(
    fitted_on: tuple[Floats, npt.NDArray[np.int64]],
    judged_on: tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]],
    classes: int,
    strengths: Sequence[float],
    steps: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """(C, its worst-group accuracy): the first of `strengths` with the highest, fitted on (features, labels) and judged
    on (features, labels, groups)."""
    features, labels, groups = judged_on
    figures = []
    for strength in strengths:
        head = logistic_head(*fitted_on, classes, strength, steps, seed)
        figures.append(lowest_accuracy(head.logits(features).argmax(axis=1) == labels, groups))
    best = int(np.argmax(figures))
    return strengths[best], figures[best]


def averaged_head(
    features: Floats,
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    classes: int,
    strength: float,
    draws: int,
    scaler: StandardScaler,
    rng: np.random.Generator,
) -> Head:
    """The mean over `draws` balanced subsets of the heads fitted to them, for raw (not standardised) features."""
    heads = []
    for _ in range(draws):
        rows = balanced_rows(groups, rng)
        scaled = scaler.transform(features[rows])
        heads.append(logistic_head(scaled, labels[rows], classes, strength, seed=int(rng.integers(2**31))))
    return unscaled(average(heads), scaler.mean_, scaler.scale_)
