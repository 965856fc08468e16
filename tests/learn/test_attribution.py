"""Integrated gradients against captum, completeness, and the closed form against both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

from ddb.learn import attribution
from ddb.learn.predict import logits, softmax

SIDE = 16


@pytest.fixture
def pair():
    """Two baselines and two images that differ inside a box alone, with its mask."""
    rng = np.random.default_rng(0)
    sources = rng.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    images, masks = sources.copy(), np.zeros((2, SIDE, SIDE), bool)
    masks[:, 4:11, 5:12] = True
    images[masks] = rng.integers(0, 256, (int(masks.sum()), 3), dtype=np.uint8)
    return sources, images, masks


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_values_are_captums(make_classifier, cpu, pair, output):
    classifier = make_classifier(3)
    sources, images, _ = pair
    labels = np.array([2, 0])
    found = attribution.integrated_gradients(classifier, sources, images, labels, cpu, 20, output)

    def forward(x):
        outputs = classifier.model(x)
        return outputs if output == "logit" else outputs.softmax(1)

    def tensor(pixels):
        return classifier.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())

    expected = IntegratedGradients(forward).attribute(
        tensor(images), tensor(sources), target=torch.from_numpy(labels), n_steps=20, method="gausslegendre"
    )
    np.testing.assert_allclose(found, expected.sum(1).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_closed_form_is_captums_sum_inside_the_mask(make_classifier, cpu, pair, output):
    """Pixels outside the mask are the source's: rho = f(x') - f(x) is the sum that the paper integrates."""
    classifier = make_classifier(2)
    sources, images, masks = pair
    labels = np.array([1, 0])
    before, after = (logits(classifier, pixels, cpu, 4) for pixels in (sources, images))
    exact = attribution.output_change(before, after, labels, output)
    found = attribution.integrated_gradients(classifier, sources, images, labels, cpu, 512, output)
    inside = (found * masks).sum((1, 2))
    np.testing.assert_allclose(inside, exact, atol=1e-3 * max(1, np.abs(exact).max()))
    assert np.abs(found[~masks]).max() == 0


def test_margin_ignores_a_common_shift(make_classifier, cpu, pair):
    classifier = make_classifier(3)
    sources, images, _ = pair
    labels = np.array([0, 1])
    before, after = (logits(classifier, pixels, cpu, 4).astype(np.float64) for pixels in (sources, images))
    found = attribution.integrated_gradients(classifier, sources, images, labels, cpu, 512, "margin").sum((1, 2))

    def margin(values):
        own = values[np.arange(2), labels]
        return own - (values.sum(1) - own) / 2

    np.testing.assert_allclose(found, margin(after) - margin(before), atol=2e-3)


def test_output_change_by_hand():
    before, after = np.array([[0.0, 1.0]], np.float32), np.array([[2.0, 0.5]], np.float32)
    assert attribution.output_change(before, after, np.array([0]), "logit") == [2.0]
    expected = softmax(after)[0, 1] - softmax(before)[0, 1]
    assert attribution.output_change(before, after, np.array([1]), "probability") == pytest.approx([expected])


def test_share_outside_by_hand():
    maps = np.array([[[1.0, -3.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    masks = np.array([[[True, False], [False, True]]] * 2)
    assert attribution.share_outside(maps, masks).tolist() == [3 / 8, 0]
