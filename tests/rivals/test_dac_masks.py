"""DaC's adaptive rule on known heat maps and loss curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ddb.data.preprocessing import Preprocessing
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.rivals.dac_masks import QUANTILES, adaptive_masks, at_quantile, chosen_quantiles, elbow, filled

CPU = Runtime(torch.device("cpu"), torch.float32)
X = np.array(QUANTILES)


def test_a_mask_keeps_the_share_above_its_quantile():
    heat = np.arange(100, dtype=np.float32).reshape(1, 10, 10).repeat(2, axis=0)
    masks = at_quantile(heat, np.array([0.3, 0.8]))
    assert masks.sum(axis=(1, 2)).tolist() == [70, 20]
    assert masks[1, 8:].all()


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.1, 0.1, 0.1, 0.1, 0.1, 2.0], 0.7),  # harmless until the last step
        ([0.1, 0.1, 0.1, 1.0, 2.0, 3.0], 0.5),  # rises from 0.5 on
        ([0.3, 0.4, 0.5, 0.6, 0.7, 0.8], None),  # a straight line has no elbow
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], None),
        # those below: what kneed 0.8.5 gives (KneeLocator, online=True, S=1, convex, increasing)
        ([0.64, 0.27, 0.04, 0.02, 0.81, 0.91], 0.6),
        ([0.9, 0.5, 0.4, 0.3, 0.2, 0.1], 0.8),
        ([0.1, 0.8, 0.2, 0.9, 0.3, 1.0], 0.5),
        ([0.5, 0.1, 0.6, 0.65, 0.7, 0.9], 0.4),
        ([0.0, 0.1, 1.0, 2.0, 3.0, 4.0], None),
    ],
)
def test_elbow(losses, expected):
    found = elbow(X, np.array(losses))
    assert (None if found is None else QUANTILES[found]) == expected


def test_without_an_elbow_little_is_kept():
    curves = np.array([[0.1] * 5 + [2.0], [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]])
    assert chosen_quantiles(curves).tolist() == [0.7, 0.8]


class Corner(nn.Module):
    """Sees red alone: the more of it, the likelier class 1. `layer` is a map of the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1, bias=False)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
            self.head.weight.copy_(torch.tensor([[-40.0], [40.0]]))
            self.head.bias.copy_(torch.tensor([2.0, -2.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.layer(x)).mean((2, 3)))


def test_the_mask_is_the_part_that_the_model_decides_by():
    """A red rectangle on 30% of a black image: the loss stays low while 30% of the pixels or more are kept."""
    model = Corner()
    classifier = Classifier(model, model.head, Preprocessing(10, 1.0, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    pixels = np.zeros((1, 10, 10, 3), np.uint8)
    pixels[0, :3, :, 0] = 200
    pixels[0, :, :, 0] += np.arange(100, dtype=np.uint8).reshape(10, 10)[::-1, ::-1] // 20  # no two rows alike
    masks = adaptive_masks(classifier, pixels, np.array([1]), CPU, 4)
    np.testing.assert_array_equal(masks[0], pixels[0, :, :, 0] >= 200)


def test_what_is_not_kept_is_the_mean_colour():
    model = Corner()
    classifier = Classifier(model, model.head, Preprocessing(2, 1.0, "bicubic", (0.2, 0.4, 0.6), (1.0, 1.0, 1.0)))
    image = np.full((1, 2, 2, 3), 9, np.uint8)
    mask = np.array([[[True, False], [False, False]]])
    assert filled(classifier, image, mask)[0].tolist() == [[[9, 9, 9], [51, 102, 153]], [[51, 102, 153]] * 2]
