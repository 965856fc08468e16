"""Stages on the world of squares (tests/squares.py), and the tables that they read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddb.config import ErmConfig
from ddb.data.images import Mask, Pixels, png_bytes
from ddb.data.table import Dataset
from squares import SIDE, picture
from stage_folder import RunFolder, dataset_of, images_of, keep_all, paint_squares


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """48 training (7 of 8 on their usual background), 16 validation and 16 test images; red is class 1."""
    root, rng, rows = tmp_path_factory.mktemp("squares"), np.random.default_rng(0), []
    for split, count in (("train", 48), ("val", 16), ("test", 16)):
        for n in range(count):
            label = n % 2
            attribute = label if (n // 2) % 8 and split == "train" else (n // 2) % 2
            name = f"{split}_{n:03d}.png"
            (root / name).write_bytes(png_bytes(picture(label, attribute, rng)))
            rows.append({"id": name, "image": name, "label": label, "attribute": attribute, "split": split})
    return dataset_of(root, rows, ("dark", "red"), ("blue", "green"), "square")


@pytest.fixture
def tiny_erm() -> ErmConfig:
    return ErmConfig(backbone="test_resnet", weights="none", image_size=SIDE, epochs=2, batch_size=16, lr=0.05)


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def rebuilt() -> Callable[..., dict[str, tuple[Pixels, Mask]]]:
    return images_of


@pytest.fixture
def painted(run_folder: RunFolder, squares: Dataset) -> RunFolder:
    """The run folder with a counterfactual of every training image, all kept."""
    train = squares.split("train").to_pylist()
    paint_squares(run_folder, squares, {row["id"]: 1 - row["label"] for row in train})
    keep_all(run_folder)
    return run_folder


@pytest.fixture
def paint() -> Callable[..., None]:
    return paint_squares
