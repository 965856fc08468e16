"""Class activation maps against captum and the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn import gradcam
from ddb.learn.classifier import Classifier
from ddb.learn.gradcam import weighted_map, xgradcam


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


def pooled(seed: int) -> Classifier:
    """A map, relu, global mean, linear layer: there the gradient is the same everywhere and XGrad-CAM is Grad-CAM."""
    torch.manual_seed(seed)
    head = nn.Linear(6, 3)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head
    )
    return Classifier(model, head, Preprocessing(16, 1.0, "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))


def test_is_captums_grad_cam_where_both_are_the_same(pixels, cpu):
    classifier = pooled(0)
    maps = xgradcam(classifier, pixels, cpu, 2)
    inputs = classifier.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    top = classifier.model(inputs).argmax(1)
    small = LayerGradCam(classifier.model, classifier.model[1]).attribute(inputs, top, relu_attributions=True)
    large = LayerAttribution.interpolate(small, (16, 16), "bilinear")[:, 0]
    assert large.max() > 0
    np.testing.assert_allclose(maps, large.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_formula_by_hand():
    """Two maps of two pixels. Weights: (1*1 + 3*0) / 4 = 0.25 and (2*-1 + 0) / 2 = -1."""
    activations = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
    gradients = torch.tensor([[[[1.0, 0.0]], [[-1.0, 5.0]]]])
    np.testing.assert_allclose(weighted_map(activations, gradients).numpy(), [[[0.0, 0.75]]], atol=1e-6)


@pytest.mark.parametrize(("strides", "chosen"), [((1, 2, 2), 1), ((2, 1, 2), 1), ((1, 1, 1), 2), ((4, 2, 1), 0)])
def test_the_map_is_the_last_that_is_fine_enough(pixels, cpu, monkeypatch, strides, chosen):
    """From 16 pixels: sides 16 8 4, then 8 8 4, 16 16 16, and 4 2 2, where none reaches 7."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3 if place == 0 else 4, 4, 1, stride) for place, stride in enumerate(strides)]
    head = nn.Linear(4, 2)
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    seen, real = [], gradcam.weighted_map
    monkeypatch.setattr(gradcam, "weighted_map", lambda maps, slopes: seen.append(maps) or real(maps, slopes))
    classifier = Classifier(model, head, Preprocessing(16, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3))
    xgradcam(classifier, pixels, cpu, 5)
    inputs = classifier.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    torch.testing.assert_close(seen[0], model[: chosen + 1](inputs))


def test_a_model_without_maps_is_refused(pixels, cpu):
    head = nn.Linear(768, 2)
    classifier = Classifier(
        nn.Sequential(nn.Flatten(), head), head, Preprocessing(16, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3)
    )
    with pytest.raises(ModelError, match="no feature map"):
        xgradcam(classifier, pixels, cpu, 2)


def test_parameters_need_no_gradient_and_get_none(pixels, cpu):
    classifier = pooled(1)
    classifier.model.requires_grad_(False)
    xgradcam(classifier, pixels, cpu, 5)
    assert all(parameter.grad is None for parameter in classifier.model.parameters())
