"""The world of squares as a problem for rivals: backgrounds that give the class away in 19 of 20 training images, and a
square that does in all."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ddb.backends.classifiers.timm_classifier import Card, LoadedClassifier
from ddb.config import Augment, FitConfig
from ddb.data.preprocessing import Preprocessing
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.predict import logits
from ddb.learn.training.fit import Images, Material, fit
from ddb.rivals import Generated, Problem
from squares import BOX, SIDE, pictures

CPU = Runtime(torch.device("cpu"), torch.float32)
STEP = 50
"""Grey levels between the squares of the two classes; the backgrounds differ by 120."""


class Net(nn.Module):
    """Two convolutions and a linear layer on all 256 features."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 2, 2), nn.ReLU(), nn.Flatten()]
        self.body, self.fc = nn.Sequential(*layers), nn.Linear(256, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(images))


def start() -> LoadedClassifier:
    torch.manual_seed(0)
    net = Net()
    classifier = Classifier(net, net.fc, Preprocessing(SIDE, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    card = Card("net", {}, ("dark", "red"), classifier.preprocessing)
    return LoadedClassifier(classifier, card)


@dataclass(frozen=True)
class World:
    """A problem, and 50 test images of each group to evaluate its solutions."""

    problem: Problem
    test: Images
    test_groups: np.ndarray

    def accuracies(self, loaded: LoadedClassifier) -> np.ndarray:
        """Test accuracy of every group [4]; groups 1 and 2 are the minority."""
        correct = logits(loaded.classifier, self.test.pixels, CPU, 200).argmax(axis=1) == self.test.labels
        return np.array([correct[self.test_groups == group].mean() for group in range(4)])


def build(folder: Path, step: int = STEP, epochs: int = 5) -> World:
    rng = np.random.default_rng(0)
    splits = [pictures(sizes, rng, step) for sizes in ((150, 8, 8, 150), (20,) * 4, (50,) * 4)]
    train, val, test = (Images(pixels, groups // 2) for pixels, groups in splits)
    train_groups, val_groups, test_groups = (groups for _, groups in splits)
    settings = FitConfig(
        epochs=epochs, batch_size=32, lr=0.03, weight_decay=1e-4, augment=Augment(scale=(1.0, 1.0)), selection="last"
    )
    erm = start()
    fit(erm.classifier, Material(train), settings, CPU, 0, folder / "erm")
    problem = Problem(
        train=train,
        val=val,
        classes=("dark", "red"),
        attributes=("blue", "green"),
        erm=lambda: copy.deepcopy(erm),
        start=start,
        fit=settings,
        selection="worst_group",
        runtime=CPU,
        seed=0,
        folder=folder / "rival",
        train_groups=train_groups,
        val_groups=val_groups,
        counterfactuals=counterfactuals(train, train_groups, step),
    )
    return World(problem, test, test_groups)


def counterfactuals(train: Images, groups: np.ndarray, step: int) -> Generated:
    """The other class's square in every training image of the majority."""
    sources = np.flatnonzero((groups == 0) | (groups == 3))
    pixels, labels = train.pixels[sources].copy(), train.labels[sources]
    for image, label in zip(pixels, labels, strict=True):
        image[BOX][..., 0] = 60 + step * (1 - label)
    return Generated(Images(pixels, 1 - labels), labels, sources)
