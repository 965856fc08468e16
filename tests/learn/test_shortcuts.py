"""Flip rate and shortcut reliance of classifiers that depend on a known region."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ddb.data.preprocessing import Preprocessing
from ddb.learn.classifier import Classifier
from ddb.learn.shortcuts import follows, reliance

SIDE = 16
CENTRE = np.zeros((SIDE, SIDE), bool)
CENTRE[4:12, 4:12] = True


class Looks(nn.Module):
    """Class 1 if the pixels in view are brighter than mid-grey on the average."""

    def __init__(self, view: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("view", torch.from_numpy(view / view.sum()).float())
        self.fc = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = (x.mean(1) * self.view).sum((1, 2))
        return self.fc(torch.stack([-value, value], 1))


def looking_at(view: np.ndarray) -> Classifier:
    model = Looks(view)
    return Classifier(model, model.fc, Preprocessing(SIDE, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))


def scenes(centre: int, around: int) -> np.ndarray:
    image = np.full((1, SIDE, SIDE, 3), around, np.uint8)
    image[:, CENTRE] = centre
    return image


def test_follows_the_object_or_the_background(cpu):
    dark_object, bright_object = scenes(50, 50), scenes(200, 50)
    labels = np.array([0]), np.array([1])
    assert follows(looking_at(CENTRE), dark_object, bright_object, *labels, cpu).tolist() == [True]
    assert follows(looking_at(~CENTRE), dark_object, bright_object, *labels, cpu).tolist() == [False]
    # A source that is wrong to begin with does not count, even where the counterfactual is right.
    assert follows(looking_at(CENTRE), bright_object, bright_object, *labels, cpu).tolist() == [False]


@pytest.mark.parametrize(("view", "expected"), [(CENTRE, 0.0), (~CENTRE, 1.0), (np.ones_like(CENTRE), 0.75)])
def test_reliance_is_the_share_of_what_it_looks_at(cpu, view, expected):
    pixels = np.repeat(scenes(200, 200), 3, axis=0)
    found = reliance(looking_at(view), pixels, np.stack([CENTRE] * 3), np.array([1, 1, 0]), cpu)
    assert found == pytest.approx(expected, abs=1e-5)
