"""Predictions: losses precise near zero, features that explain the logits, chunks that do not depend on the asking."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from ddb.learn import predict


def test_logits_in_batches_are_those_of_one_pass(make_classifier, colours, cpu):
    classifier = make_classifier()
    whole = predict.logits(classifier, colours.pixels, cpu, 40)
    np.testing.assert_allclose(predict.logits(classifier, colours.pixels, cpu, 7), whole, atol=1e-5)
    assert whole.shape == (40, 2)
    assert not classifier.model.training


def test_the_last_layer_turns_features_into_logits(make_classifier, colours, cpu):
    classifier = make_classifier(3)
    features = predict.features(classifier, colours.pixels, cpu, 16)
    with torch.no_grad():
        outputs = classifier.head(torch.from_numpy(features))
    np.testing.assert_allclose(outputs, predict.logits(classifier, colours.pixels, cpu, 16), atol=1e-5)


def test_cross_entropy_is_scipys_and_keeps_small_losses_apart():
    values = np.array([[3.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-5.0, 40.0, 2.0], [1000.0, 0.0, 0.0]], np.float32)
    labels = np.array([0, 2, 0, 1])
    expected = -log_softmax(values.astype(np.float64), axis=1)[np.arange(4), labels]
    np.testing.assert_allclose(predict.cross_entropy(values, labels), expected, rtol=1e-12)
    sure = np.array([[50.0, 0.0], [45.0, 0.0]], np.float32)
    losses = predict.cross_entropy(sure, np.array([0, 0]))
    assert losses == pytest.approx([np.exp(-50), np.exp(-45)], rel=1e-6)  # not 0, so they can be ranked


def test_softmax_of_large_logits():
    np.testing.assert_allclose(predict.softmax(np.array([[1000.0, 1000.0]], np.float32)), [[0.5, 0.5]])


def test_fixed_chunks_do_not_depend_on_the_asking():
    asked: list[list[int]] = []

    def compute(rows: list[int]) -> list[tuple[int, ...]]:
        asked.append(rows)
        return [tuple(rows)] * len(rows)

    item = predict.in_fixed_chunks(compute, 7, 3)
    assert item(4) == item(5) == (3, 4, 5)
    assert asked == [[3, 4, 5]]
    assert item(6) == (6,)
    assert item(0) == (0, 1, 2)
