"""Concept images of the pocket world for the rival DISC: every place of every world, empty, and plain colours.

    OUT/forest/000.png ... OUT/lake/ ... OUT/red/ ...   64x64, one sub-folder a concept

Which of them matter to a data set the method finds out; most belong to other worlds, as in DISC's own bank.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from ddb.data.images import png_bytes
from ddb.errors import DataError
from ddb.pocket.world import FAMILIES, render, sample_scene

COLOURS = {
    "black": (20, 20, 20),
    "blue": (50, 80, 200),
    "brown": (120, 80, 45),
    "green": (60, 140, 60),
    "grey": (128, 128, 128),
    "red": (200, 50, 50),
    "white": (235, 235, 235),
    "yellow": (220, 200, 60),
}
NOISE = 12.0
"""Standard deviation of a colour image's pixels, grey levels."""


def write_concepts(out: Path, count: int, seed: int) -> Path:
    """Draw `count` images of each concept into the new folder `out` and return it. It appears when it is complete.
    DataError if it is there already."""
    if out.exists():
        raise DataError(f"{out} already exists: name a new folder, or delete it first")
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    for kind, family in FAMILIES.items():
        for place in family.places:
            for number in range(count):
                rng = np.random.default_rng([seed, *place.encode(), number])
                scene = sample_scene(rng, family=kind, place=place, empty=True)
                _write(draft / place / f"{number:03d}.png", render(scene).image)
    for name, colour in COLOURS.items():
        for number in range(count):
            rng = np.random.default_rng([seed, *name.encode(), number])
            pixels = np.array(colour) * rng.uniform(0.8, 1.2) + rng.normal(0, NOISE, (64, 64, 3))
            _write(draft / name / f"{number:03d}.png", pixels.clip(0, 255).astype(np.uint8))
    os.replace(draft, out)
    return out


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(pixels))
