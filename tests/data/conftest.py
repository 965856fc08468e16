"""Small data sets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]


@pytest.fixture
def draw() -> Draw:
    """Write an image of random blocks (10 x 12 by default) to a path, in the format of its suffix."""

    def write(path: Path, seed: int = 0, width: int = 12, height: int = 10, mode: str = "RGB", **save: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path, **save)  # type: ignore[arg-type]
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, draw: Draw) -> Path:
    """Two class folders of ten images each, no splits."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(10):
            draw(tmp_path / "pets" / name / f"{number}.png", seed=100 * label + number)
    return tmp_path / "pets"
