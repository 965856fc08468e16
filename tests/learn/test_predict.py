"""Predictions: losses accurate near zero, features that reproduce the logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from ddb.errors import StageFailed
from ddb.learn import predict
from ddb.learn.device import Runtime
from ddb.learn.finite import require_finite, row_faults


def test_logits_in_batches_are_those_of_one_pass(make_classifier, colours, cpu):
    classifier = make_classifier()
    whole = predict.logits(classifier, colours.pixels, cpu, 40)
    np.testing.assert_allclose(predict.logits(classifier, colours.pixels, cpu, 7), whole, atol=1e-5)
    assert whole.shape == (40, 2)
    assert not classifier.model.training


def test_an_images_logits_do_not_depend_on_its_neighbours(make_classifier, colours, device):
    classifier, runtime = make_classifier(3), Runtime(device, torch.float32).exact()
    whole = predict.logits(classifier, colours.pixels, runtime, 16)
    for rows in ([5], [5, 6, 7], list(range(3, 20))):
        some = predict.logits(classifier, colours.pixels[rows], runtime, 16)
        assert np.array_equal(some, whole[rows])
    seen = []
    handle = classifier.model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    predict.logits(classifier, colours.pixels[:3], runtime, 16)
    assert predict.features(classifier, colours.pixels[:3], runtime, 16).shape == (3, 8)
    handle.remove()
    assert seen == [16, 16]


def test_the_next_batch_is_read_before_the_outputs_of_a_batch_are_waited_for(
    make_classifier, colours, cpu, monkeypatch
):
    """The order of events; on a GPU the device computes a batch while the host reads the next one."""
    events, real, classifier = [], predict.to_tensor, make_classifier()
    number, begin = iter(range(100)), predict.fetched

    def reads(pixels, device):
        events.append("read")
        return real(pixels, device)

    def fetched(values):
        mine, wait = next(number), begin(values)
        return lambda: (events.append(f"wait {mine}"), wait())[1]

    monkeypatch.setattr(predict, "to_tensor", reads)
    monkeypatch.setattr(predict, "fetched", fetched)
    outputs = predict.logits(classifier, colours.pixels, cpu, 16)
    assert events == ["read", "read", "wait 0", "read", "wait 1", "wait 2"]
    monkeypatch.undo()
    assert np.array_equal(outputs, predict.logits(classifier, colours.pixels, cpu, 16))


def test_a_row_that_is_not_finite_spoils_no_other(make_classifier, colours, cpu):
    """A model that divides by zero on one image: logits, loss and probabilities of that row alone are not finite."""
    classifier = make_classifier()
    pixels = colours.pixels.copy()
    pixels[4] = 0

    class Divides(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = classifier.model

        def forward(self, x):
            return self.inner(x) / (x.flatten(2).std(dim=2).sum(dim=1, keepdim=True) > 0).float()

    dividing = replace(classifier, model=Divides())
    outputs = predict.logits(dividing, pixels, cpu, 16)
    labels = colours.labels
    losses, probabilities = predict.cross_entropy(outputs, labels), predict.softmax(outputs)
    good = np.arange(40) != 4
    assert np.isnan(losses[4])
    assert not np.isfinite(probabilities[4]).all()
    expected = predict.logits(classifier, pixels, cpu, 16)
    assert np.array_equal(outputs[good], expected[good])
    assert np.array_equal(losses[good], predict.cross_entropy(expected, labels)[good])
    faults = row_faults(logits=outputs, loss=losses)
    assert faults[4] == "logits and loss are not finite"
    assert not any(np.array(faults)[good])
    assert row_faults(loss=losses)[4] == "loss is not finite"
    require_finite("the logits are", expected)
    with pytest.raises(StageFailed, match=r"the logits are not finite for 1 of 40 images \(image 5\)"):
        require_finite("the logits are", outputs)


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
