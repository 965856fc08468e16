"""Integrated gradients against captum, completeness, and the closed form against both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

from ddb.learn import attribution
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, OutOfMemory
from ddb.learn.predict import logits, softmax

SIDE = 16


def integral(steps, output, size=2):
    return attribution.Integral(steps, output, BatchSize(size, "score.batch_size", "lower erm.image_size"))


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
    found = attribution.integrated_gradients(classifier, sources, images, labels, cpu, integral(20, output))

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
    found = attribution.integrated_gradients(classifier, sources, images, labels, cpu, integral(512, output))
    inside = (found * masks).sum((1, 2))
    np.testing.assert_allclose(inside, exact, atol=1e-3 * max(1, np.abs(exact).max()))
    assert np.abs(found[~masks]).max() == 0


def test_margin_ignores_a_common_shift(make_classifier, cpu, pair):
    classifier = make_classifier(3)
    sources, images, _ = pair
    labels = np.array([0, 1])
    before, after = (logits(classifier, pixels, cpu, 4).astype(np.float64) for pixels in (sources, images))
    found = attribution.integrated_gradients(classifier, sources, images, labels, cpu, integral(512, "margin")).sum(
        (1, 2)
    )

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


def test_an_images_attributions_do_not_depend_on_its_neighbours(make_classifier, colours, device):
    classifier, runtime = make_classifier(2), Runtime(device, torch.float32).exact()
    sources, images, labels = colours.pixels[:9], colours.pixels[9:18], np.arange(9) % 2
    how = integral(8, "logit", 4)
    whole = attribution.integrated_gradients(classifier, sources, images, labels, runtime, how)
    for rows in ([8], [2, 3], [0, 4, 5, 6, 7]):
        some = attribution.integrated_gradients(classifier, sources[rows], images[rows], labels[rows], runtime, how)
        assert np.array_equal(some, whole[rows])


def test_running_out_of_memory_halves_the_batch(make_classifier, colours, device):
    classifier, runtime = make_classifier(2), Runtime(device, torch.float32).exact()
    sources, images, labels = colours.pixels[:7], colours.pixels[9:16], np.arange(7) % 2
    expected = attribution.integrated_gradients(classifier, sources, images, labels, runtime, integral(8, "logit", 7))
    room = 2

    def small(_module, inputs):
        if len(inputs[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    handle, how = classifier.model.register_forward_pre_hook(small), integral(8, "logit", 7)
    found = attribution.integrated_gradients(classifier, sources, images, labels, runtime, how)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert how.batch.size <= 2
    room = 0
    with pytest.raises(OutOfMemory, match="score.batch_size 1: lower erm.image_size"):
        attribution.integrated_gradients(classifier, sources, images, labels, runtime, how)
    handle.remove()
