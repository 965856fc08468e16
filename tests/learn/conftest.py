"""Small models and images for the learning code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from ddb.data.preprocessing import Preprocessing
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.training.fit import Images

SIDE = 16


class Net(nn.Module):
    """A convolution, a normalisation with running statistics, dropout and a linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


@pytest.fixture
def cpu() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def repeatable(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Float32 on each device that there is, with kernels that give the same bits every time."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    return Runtime(device, torch.float32)


@pytest.fixture
def make_classifier() -> Callable[..., Classifier]:
    def make(classes: int = 2, seed: int = 0) -> Classifier:
        torch.manual_seed(seed)
        net = Net(classes)
        return Classifier(net, net.fc, Preprocessing(SIDE, 1.0, "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))

    return make


@pytest.fixture
def colours() -> Images:
    """40 noisy images of two classes that a colour tells apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pixels = rng.integers(0, 120, (40, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[labels == 1, :, :, 0] += np.uint8(120)
    return Images(pixels, labels.astype(np.int64))
