"""Automatic Feature Reweighting (Qiu, Potapczynski, Izmailov and Wilson, ICML 2023; code: AndPotap/afr).

1. ERM on 80% of the training images, last checkpoint.
2. On the other 20%: weights mu_i proportional to beta_y exp(-gamma p_i), p_i the ERM model's probability of the true
   class and beta_y = n / n_y; the last layer moves from the ERM head by full-batch gradient descent on
   sum_i mu_i CE_i + lambda (|W - W0|^2 + |b - b0|^2).

Follows the repository's script (train_embeddings.py), which starts at the ERM head, as the paper does; its notebook
learns a residual layer from a random start instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ddb.learn.predict import Floats, cross_entropy, softmax
from ddb.rivals.head import Doubles, Head


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
    head: Head, start: Head, features: Floats, labels: npt.NDArray[np.integer], weights: Doubles, strength: float
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
        slope.T @ features.astype(np.float64) + 2 * strength * moved.weight,
        slope.sum(axis=0) + 2 * strength * moved.bias,
    )
    return value, gradient


def descend(
    start: Head,
    features: Floats,
    labels: npt.NDArray[np.integer],
    weights: Doubles,
    strength: float,
    rate: float,
    steps: int,
    largest_gradient: float = 1.0,
) -> Iterator[Head]:
    """The head after each step of gradient descent from `start`; gradients longer than `largest_gradient` are cut to
    it (the script's --grad_norm=1.0), with no momentum and no weight decay."""
    head = start
    for _ in range(steps):
        _, gradient = objective(head, start, features, labels, weights, strength)
        length = float(np.sqrt((gradient.weight**2).sum() + (gradient.bias**2).sum()))
        step = rate * min(1.0, largest_gradient / (length + 1e-6))
        head = Head(head.weight - step * gradient.weight, head.bias - step * gradient.bias)
        yield head
