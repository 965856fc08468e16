"""The leak test (method section 7): can generated images be told from real ones, and does this predict the label?

A linear probe is fitted to classify features of sources as real and of counterfactuals as generated. If its score on
held-out images also predicts the label among images of one background, the retrained classifier could learn traces of
the generator instead of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ddb.learn.metrics import UNKNOWN, binary_auroc
from ddb.learn.predict import Floats

Probe = Callable[[Floats], npt.NDArray[np.float64]]
LEAKS_ABOVE = 0.8
"""AUROC of the label, within one background type, above which the report warns."""


def fit_probe(real: Floats, generated: Floats) -> Probe:
    """Fit a logistic regression to standardised features [N, D]. The probe maps features [N, D] to the log-odds of
    "generated", float64 [N]."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    probe.fit(np.concatenate([real, generated]), np.repeat([0, 1], [len(real), len(generated)]))
    return lambda features: np.asarray(probe.decision_function(features), np.float64)


def detection(probe: Probe, real: Floats, generated: Floats) -> float | None:
    """AUROC of the probe on held-out pairs, in [0, 1]; 0.5: generated images cannot be told from real ones. None where
    one kind is missing."""
    scores = np.concatenate([probe(real), probe(generated)])
    return binary_auroc(scores, np.repeat([False, True], [len(real), len(generated)]))


def label_leak(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.integer], attributes: npt.NDArray[np.integer]
) -> list[dict[str, Any]]:
    """For each attribute a row with `attribute`, `n` (number of images) and `label_auroc` in [0.5, 1]: the highest
    AUROC of one class against the others by the probe's score, in either direction. `scores`, `labels`, `attributes`:
    [N]."""
    rows = []
    for attribute in np.unique(attributes[attributes != UNKNOWN]):
        inside = attributes == attribute
        areas = [binary_auroc(scores[inside], labels[inside] == label) for label in np.unique(labels)]
        known = [max(area, 1 - area) for area in areas if area is not None]
        if known:
            rows.append({"attribute": int(attribute), "n": int(inside.sum()), "label_auroc": max(known)})
    return rows
