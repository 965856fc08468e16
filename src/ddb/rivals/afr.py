"""Automatic Feature Reweighting (Qiu, Potapczynski, Izmailov and Wilson, ICML 2023; code: AndPotap/afr).

1. ERM on 80% of the training images, last checkpoint.
2. On the other 20%: weights mu_i proportional to beta_y exp(-gamma p_i), p_i the ERM model's probability of the true
   class and beta_y = n / n_y; the last layer moves from the ERM head by full-batch gradient descent on
   sum_i mu_i CE_i + lambda (|W - W0|^2 + |b - b0|^2).

The head after the step with the best figures is kept. This follows the repository's script (train_embeddings.py), which
starts from the ERM head, as the paper does; its notebook learns a residual layer from a random initialisation instead.
The split is the same for all seeds (the code's shuffle seed 21); stage 1 uses the shared budget and its last epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.learn.predict import Floats, cross_entropy, softmax
from ddb.learn.training.batches import passes
from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Problem, Rival, Settings
from ddb.rivals.head import Doubles, Head, head_of, put_head
from ddb.rivals.last_layer import features_of, head_figures, key
from ddb.rivals.training import train

SPLIT_SEED = 21
"""Seed of the split of the training images, independent of the run's seed (code: --train_prop)."""


def afr_weights(
    true_probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], gamma: float, balance: bool = True
) -> Doubles:
    """mu [N], summing to 1: exp(-gamma p_i), times n / n_y where `balance` (paper section 4; rebalance_weights)."""
    weights: Doubles = np.exp(-gamma * true_probabilities.astype(np.float64))
    if balance:
        sizes = np.bincount(labels)
        weights = weights * (len(labels) / sizes[labels])
    shares: Doubles = weights / weights.sum()
    return shares


def objective(
    head: Head,
    start: Head,
    features: Floats | Doubles,
    labels: npt.NDArray[np.integer],
    weights: Doubles,
    strength: float,
) -> tuple[float, Head]:
    """Value and gradient of sum_i weights_i CE_i + strength (|W - W0|^2 + |b - b0|^2)."""
    outputs = head.logits(features)
    moved = Head(head.weight - start.weight, head.bias - start.bias)
    penalty = float((moved.weight**2).sum() + (moved.bias**2).sum())
    value = float(weights @ cross_entropy(outputs, labels)) + strength * penalty
    slope = softmax(outputs)
    slope[np.arange(len(labels)), labels] -= 1
    slope *= weights[:, None]
    gradient = Head(
        slope.T @ features.astype(np.float64, copy=False) + 2 * strength * moved.weight,
        slope.sum(axis=0) + 2 * strength * moved.bias,
    )
    return value, gradient


@dataclass(frozen=True)
class Weighted:
    """`features` [N, D] with `labels` int [N] and the `weights` float64 [N] of their losses."""

    features: Floats | Doubles
    labels: npt.NDArray[np.integer]
    weights: Doubles


def descend(
    start: Head, images: Weighted, strength: float, rate: float, steps: int, largest_gradient: float = 1.0
) -> Iterator[Head]:
    """The head after each step of full-batch gradient descent from `start`, without momentum or weight decay; the
    gradient's norm is clipped to `largest_gradient` (the script's --grad_norm=1.0)."""
    head, features = start, images.features.astype(np.float64)
    for _ in range(steps):
        _, gradient = objective(head, start, features, images.labels, images.weights, strength)
        length = float(np.sqrt((gradient.weight**2).sum() + (gradient.bias**2).sum()))
        step = rate * min(1.0, largest_gradient / (length + 1e-6))
        head = Head(head.weight - step * gradient.weight, head.bias - step * gradient.bias)
        yield head


class AfrSettings(Settings):
    gamma: float = Field(
        10.0, ge=0, description="how much a confident image loses (README: Waterbirds 10, CelebA 1.44)"
    )
    strength: float = Field(
        0.0, ge=0, description="lambda, pull towards the ERM head (README: Waterbirds 0, CelebA 0.001)"
    )
    rate: float = Field(0.01, gt=0, description="learning rate of the last layer (code: Waterbirds 0.01, CelebA 0.02)")
    steps: int = Field(500, ge=1, description="full-batch steps (code: Waterbirds 500, CelebA 1000)")
    balance: bool = Field(True, description="beta_y = n / n_y; false: 1 (code: rebalance_weights, on)")
    erm_share: float = Field(0.8, gt=0, lt=1, description="training images of stage 1; the rest reweights (paper: 0.8)")


def fit_afr(problem: Problem, settings: AfrSettings) -> Fitted:
    """Stage 1, trained once for all settings with the same split, then stage 2, the last layer."""
    first, second = split_rows(len(problem.train.labels), settings.erm_share)
    loaded = _first_stage(problem, first)
    labels = problem.train.labels[second]
    features = features_of(problem, loaded.classifier, "train")[second]
    start = head_of(loaded.classifier)
    sure = softmax(start.logits(features))[np.arange(len(labels)), labels]
    weights = afr_weights(sure, labels, settings.gamma, settings.balance)
    figures = head_figures(problem, loaded.classifier)
    kept, best, at = start, figures(start), 0
    images = Weighted(features, labels, weights)
    heads = descend(start, images, settings.strength, settings.rate, settings.steps)
    for step, head in enumerate(heads, start=1):
        found = figures(head)
        if found >= best:  # the later of two equal heads, as for epochs
            kept, best, at = head, found, step
    put_head(loaded.classifier, kept)
    return Fitted(loaded, best, {"step": at, "images_reweighted": len(second)})


def split_rows(n: int, share: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows 0..n-1 of stage 1 (`share` of them) and of stage 2, each sorted: int64."""
    order = np.random.default_rng(SPLIT_SEED).permutation(n)
    cut = min(n - 1, max(1, int(share * n)))
    return np.sort(order[:cut]), np.sort(order[cut:])


def _first_stage(problem: Problem, rows: npt.NDArray[np.int64]) -> LoadedClassifier:
    """The ERM model of the first part of the training images, trained once for all settings of stage 2."""
    size = problem.fit.batch_size
    material = Material(problem.train, plan=lambda generator, _: passes(rows, size, generator))
    own = replace(problem, folder=problem.folder / key(problem.fit, len(rows)))
    return train(own, problem.start(), material, problem.fit, "stage-1").classifier


RIVAL = Rival(
    name="afr",
    title="AFR",
    uses=frozenset({"val_groups"}),
    settings=AfrSettings,
    grid=({}, {"gamma": 4.0}, {"gamma": 2.0, "strength": 0.01}, {"gamma": 20.0, "strength": 0.1}),
    fit=fit_afr,
)
