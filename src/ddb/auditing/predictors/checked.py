"""Checks of what a model of others returns: shape, finite numbers, probabilities."""

from __future__ import annotations

import numpy as np

from ddb.auditing.predictors import Probabilities
from ddb.errors import ModelError

TOLERANCE = 1e-2
"""Difference of a row's sum from 1 that rounding explains, in float16 as well."""


def outputs_of(found: object, count: int, classes: int, who: str) -> Probabilities:
    """What a model returned for `count` images as float64 [count, classes]. ModelError for another shape, for what is
    no number, and for numbers that are not finite; `who` names the model in messages."""
    try:
        values = np.asarray(found, np.float64)
    except (TypeError, ValueError):
        raise ModelError(f"{who} returns {type(found).__name__}, not an array of numbers [N, {classes}].") from None
    if values.shape != (count, classes):
        raise ModelError(
            f"{who} returns {list(values.shape)} for {count} images; [{count}, {classes}] is expected: a row for each "
            f"image, a column for each of {classes} classes."
        )
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise ModelError(
            f"{who} returns NaN or infinity for {len(bad)} of {count} images (the first is number {bad[0] + 1} of its "
            "batch). Compute in float32, and check the weights and the normalisation of its input."
        )
    return values


def are_probabilities(values: Probabilities) -> bool:
    """Whether all rows lie in [0, 1] and have the sum 1."""
    inside = (values >= -TOLERANCE).all() and (values <= 1 + TOLERANCE).all()
    return bool(inside and (np.abs(values.sum(axis=1) - 1) <= TOLERANCE).all())


def probabilities_of(found: object, count: int, classes: int, who: str) -> Probabilities:
    """As `outputs_of`, and ModelError for rows that are no probabilities, such as logits."""
    values = outputs_of(found, count, classes, who)
    if not are_probabilities(values):
        sums = values.sum(axis=1)
        raise ModelError(
            f"{who} returns no probabilities: values from {values.min():.3g} to {values.max():.3g}, sums of rows from "
            f"{sums.min():.3g} to {sums.max():.3g}. If these are logits, apply softmax over the classes."
        )
    return normalised(values)


def normalised(values: Probabilities) -> Probabilities:
    """Rows in [0, 1] with the exact sum 1."""
    clipped = np.clip(values, 0, None)
    scaled: Probabilities = clipped / clipped.sum(axis=1, keepdims=True)
    return scaled
