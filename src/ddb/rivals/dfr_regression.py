"""Balanced logistic regressions on features, as in dfr_evaluate_spurious.py of PolinaKirichenko/
deep_feature_reweighting (Kirichenko et al., ICLR 2023)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ddb.errors import DataError
from ddb.learn.predict import Floats
from ddb.learn.training.material import Figures
from ddb.rivals.head import Head, average, unscaled

Rows = npt.NDArray[np.int64]


def balanced_rows(groups: npt.NDArray[np.int64], rng: np.random.Generator) -> Rows:
    """Random rows of every group, as many as the smallest group has, sorted by group. `groups` [N] in 0, 1, ...;
    DataError where a group is empty."""
    sizes = np.bincount(groups)
    if not sizes.all():
        raise DataError(
            f"{int((sizes == 0).sum())} of {len(sizes)} groups have no image to train on: a balanced subset is empty."
        )
    return np.concatenate([rng.permutation(np.flatnonzero(groups == g))[: sizes.min()] for g in range(len(sizes))])


@dataclass(frozen=True)
class Regression:
    """Settings of a regression: `strength`: C; `penalty`: "l1" or "l2"; `weights` [K] multiply the losses of each
    class; `steps`: max_iter."""

    strength: float
    penalty: str = "l1"
    weights: tuple[float, ...] | None = None
    steps: int = 100


def logistic_head(
    features: Floats, labels: npt.NDArray[np.int64], classes: int, how: Regression, seed: int = 0
) -> Head:
    """Logistic regression with liblinear. Two classes: the softmax of the head's logits is scikit-learn's probability;
    more classes: one against the rest. DataError where a class has no image."""
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing:
        raise DataError(
            f"DFR: {len(missing)} of {classes} classes have no image in a balanced subset; it needs images of all."
        )
    weights = None if how.weights is None else np.array(how.weights)[labels]
    ratio = 1.0 if how.penalty == "l1" else 0.0
    solutions = []
    for label in range(classes) if classes > 2 else [1]:
        model = LogisticRegression(
            C=how.strength, l1_ratio=ratio, solver="liblinear", max_iter=how.steps, random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is small on purpose
            model.fit(features, labels == label, sample_weight=weights)
        solutions.append((model.coef_[0], model.intercept_[0]))
    weight, bias = np.stack([w for w, _ in solutions]), np.array([b for _, b in solutions])
    if classes == 2:  # log-odds z of class 1 -> logits (-z / 2, z / 2)
        return Head(np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2)
    return Head(weight, bias)


def search(
    features: Floats,
    labels: npt.NDArray[np.int64],
    classes: int,
    candidates: Sequence[Regression],
    figures: Callable[[Head], Figures],
    seed: int = 0,
) -> tuple[Regression, Figures]:
    """The candidate whose head has the highest first figure (the first of equals), and the figures of its head. Where
    `figures` is () for all heads, the first candidate."""
    found = [figures(logistic_head(features, labels, classes, how, seed)) for how in candidates]
    best = max(range(len(found)), key=lambda index: (found[index][:1], -index))
    return candidates[best], found[best]


@dataclass(frozen=True)
class Grouped:
    """Raw (not standardised) `features` [N, D] with `labels` and `groups` int64 [N]; `classes`: number of classes."""

    features: Floats
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    classes: int


def averaged_head(
    images: Grouped, how: Regression, draws: int, scaler: StandardScaler, rng: np.random.Generator
) -> Head:
    """The mean of the heads fitted to `draws` balanced subsets, as a head for raw features."""
    heads = []
    for _ in range(draws):
        rows, seed = balanced_rows(images.groups, rng), int(rng.integers(2**31))
        scaled = scaler.transform(images.features[rows])
        heads.append(logistic_head(scaled, images.labels[rows], images.classes, how, seed))
    return unscaled(average(heads), scaler.mean_, scaler.scale_)
