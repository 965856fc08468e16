"""The leak test on features whose trace is known."""

from __future__ import annotations

import numpy as np
import pytest

from ddb.learn import leak
from ddb.learn.metrics import UNKNOWN


@pytest.mark.parametrize(("trace", "low", "high"), [(0.0, 0.35, 0.65), (3.0, 0.95, 1.0)])
def test_detection_follows_the_trace(trace, low, high):
    rng = np.random.default_rng(0)
    real, made = rng.standard_normal((2, 200, 8)).astype(np.float32)
    made[:, 3] += trace
    probe = leak.fit_probe(real[:100], made[:100])
    assert low <= leak.detection(probe, real[100:], made[100:]) <= high


def test_label_leak_within_each_attribute():
    # Attribute 0: class 1 is what looks generated; attribute 1: scores say nothing of the class.
    scores = np.array([0.1, 0.2, 0.8, 0.9, 0.1, 0.9, 0.1, 0.9, 5.0])
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0])
    attributes = np.array([0, 0, 0, 0, 1, 1, 1, 1, UNKNOWN])
    first, second = leak.label_leak(scores, labels, attributes)
    assert first == {"attribute": 0, "n": 4, "label_auroc": 1.0}
    assert second == {"attribute": 1, "n": 4, "label_auroc": 0.5}


def test_direction_does_not_matter_and_one_class_alone_tells_nothing():
    scores, labels = np.array([0.9, 0.8, 0.1, 0.3]), np.array([0, 0, 1, 1])
    (row,) = leak.label_leak(scores, labels, np.zeros(4, int))
    assert row["label_auroc"] == 1.0
    assert leak.label_leak(scores[:2], labels[:2], np.zeros(2, int)) == []
