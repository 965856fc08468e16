"""Calibration: whether the confidence of predictions is their accuracy (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from ddb.auditing.figures import Figure, bootstrap, share
from ddb.auditing.measures.predictions import Predictions
from ddb.learn.metrics import calibration_gap, confidence_bin

BINS = 15


@dataclass(frozen=True)
class Bin:
    """The predictions with a confidence in (`low`, `high`]: mean `confidence`, and their accuracy."""

    low: float
    high: float
    confidence: float
    accuracy: Figure


@dataclass(frozen=True)
class Calibration:
    """`ece`: mean gap between confidence and accuracy over `bins`, weighted by their images; bins without images are
    left out."""

    ece: Figure
    bins: tuple[Bin, ...]


def calibration(predictions: Predictions) -> Calibration:
    """N > 0."""
    confidence, correct = predictions.probabilities.max(axis=1), predictions.correct
    error = bootstrap(lambda rows: calibration_gap(confidence[rows], correct[rows], BINS), len(correct))
    assert error is not None, "at least one image"
    where, bins = confidence_bin(confidence, BINS), []
    for number in range(BINS):
        inside = where == number
        if (found := share(correct[inside])) is not None:
            bins.append(Bin(number / BINS, (number + 1) / BINS, float(confidence[inside].mean()), found))
    return Calibration(error, tuple(bins))
