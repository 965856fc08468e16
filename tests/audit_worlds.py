"""A tiny data set with masks, and classifiers that by construction read its objects or its surroundings alone."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from ddb.auditing.predictors.options import ModelOptions
from ddb.backends.classifiers.loaded import Card, LoadedClassifier
from ddb.config import RunConfig
from ddb.data.preprocessing import Preprocessing
from ddb.learn.classifier import Classifier

SIDE = 32
BOX = (slice(8, 24), slice(8, 24))
"""Of the objects, on the grid of the patches that occlusion covers."""
CORNER = (slice(0, 8), slice(0, 8))
CLASSES, PLACES = ("cat", "dog"), ("grass", "sofa")
MIDDLE = (slice(12, 20), slice(12, 20))
OPTIONS = ModelOptions(classes=CLASSES, size=SIDE)


def quiet(line: str) -> None:
    """Progress is not shown."""


def picture(label: int, place: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [32, 32, 3]: the class is the red of a square in the middle, the place the green around it."""
    image = rng.integers(0, 30, (SIDE, SIDE, 3), dtype=np.uint8)
    image[..., 1] += np.uint8(160 * place)
    image[BOX] = rng.integers(0, 30, (16, 16, 3), dtype=np.uint8)
    image[BOX][..., 0] += np.uint8(40 + 160 * label)
    return image


def write_world(root: Path, balanced: bool, masks: bool = True) -> Path:
    """A table with 6 training, 2 validation and 8 test images of each class; `balanced`: both places with both classes
    in equal numbers, else each class at its own place. Returns the table's path."""
    rng, rows = np.random.default_rng(0), []
    for split, count in (("train", 6), ("val", 2), ("test", 8)):
        for label in range(2):
            for number in range(count):
                place = number % 2 if balanced else label
                name = f"{split}_{label}_{number}.png"
                rows.append({"path": name, "label": CLASSES[label], "attribute": PLACES[place], "split": split})
                root.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture(label, place, rng)).save(root / name)
                if masks:
                    (root / "masks").mkdir(exist_ok=True)
                    mask = np.zeros((SIDE, SIDE), np.uint8)
                    mask[BOX] = 255
                    Image.fromarray(mask).save(root / "masks" / name)
    with open(root / "images.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root / "images.csv"


def settings(table: Path, **segment: str) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "tiny",
            "device": "cpu",
            "data": {"source": "table", "root": str(table), "phrase": "square"},
            "segment": segment or {"backend": "clipseg"},
            "inpaint": {"backend": "copy_paste"},
        }
    )


def logistic(value: np.ndarray) -> np.ndarray:
    """The logit of class 1 [N] -> probabilities [N, 2]."""
    high = 1 / (1 + np.exp(-value))
    return np.stack([1 - high, high], axis=1)


def object_reader(pixels: np.ndarray) -> np.ndarray:
    return logistic((pixels[:, *MIDDLE, 0].mean((1, 2)) - 120) / 20)


def surroundings_reader(pixels: np.ndarray) -> np.ndarray:
    return logistic((pixels[:, *CORNER, 1].mean((1, 2)) - 80) / 20)


class Looks(nn.Module):
    """Class 1 where a colour is bright in a region, linear in the pixels."""

    def __init__(self, region: tuple[slice, slice], colour: int, threshold: float) -> None:
        super().__init__()
        view = torch.zeros(3, SIDE, SIDE)
        view[colour, region[0], region[1]] = 1.0
        self.register_buffer("view", view / view.sum())
        self.threshold, self.fc = threshold / 255, nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = 20 * ((x * self.view).sum((1, 2, 3)) - self.threshold)
        return self.fc(torch.stack([-value, value], 1))


def torch_model(region: tuple[slice, slice], colour: int, threshold: float) -> LoadedClassifier:
    """Of the classes cat and dog."""
    model = Looks(region, colour, threshold)
    how = Preprocessing(SIDE, 1.0, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return LoadedClassifier(Classifier(model, model.fc, how), Card("looks", {}, CLASSES, how))
