"""Do generated images give themselves away, and does that give the label away? (method section 7, the leak test)

A probe learns "real or generated" from features of pairs (source, counterfactual). If its verdict on unseen images
also predicts the label among images of one background type, the retrained classifier could learn the generator's
traces in place of the object.
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
    """A logistic regression on standardised features [N, D]; its score is the log-odds of "generated"."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    probe.fit(np.concatenate([real, generated]), np.repeat([0, 1], [len(real), len(generated)]))
    return lambda features: np.asarray(probe.decision_function(features), np.float64)


def detection(probe: Probe, real: Floats, generated: Floats) -> float | None:
    """AUROC of the probe on pairs that it has not seen: 0.5 means that generated images leave no trace."""
    scores = np.concatenate([probe(real), probe(generated)])
    return binary_auroc(scores, np.repeat([False, True], [len(real), len(generated)]))


def label_leak(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.integer], attributes: npt.NDArray[np.integer]
) -> list[dict[str, Any]]:
    """Within each attribute: how well the probe's score tells a class from the others, in either direction
    (`label_auroc`: the highest over classes, in [0.5, 1])."""
    rows = []
    for attribute in np.unique(attributes[attributes != UNKNOWN]):
        inside = attributes == attribute
        areas = [binary_auroc(scores[inside], labels[inside] == label) for label in np.unique(labels)]
        known = [max(area, 1 - area) for area in areas if area is not None]
        if known:
            rows.append({"attribute": int(attribute), "n": int(inside.sum()), "label_auroc": max(known)})
    return rows
