"""DISC's concept images for the built-in worlds: empty places of all three, as its authors generate concepts by name.
The places of the other worlds are concepts that have nothing to do with the classes, as most of a bank's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from ddb.data.images import png_bytes
from ddb.pocket.miniatures import MINIATURES
from ddb.pocket.world import FAMILIES, render, sample_scene

IMAGES = 60
"""Of each concept."""


def write_concepts(folder: Path) -> Path:
    """A folder with a sub-folder a place, whole or absent."""
    if folder.is_dir():
        return folder
    draft = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    rng = np.random.default_rng(0)
    for miniature in MINIATURES.values():
        for place in FAMILIES[miniature.family].places:
            home = draft / place.replace(" ", "-")
            home.mkdir(parents=True)
            for number in range(IMAGES):
                scene = sample_scene(rng, family=miniature.family, place=place, empty=True)
                (home / f"{number:03d}.png").write_bytes(png_bytes(render(scene).image))
    os.replace(draft, folder)
    return folder
