"""DISC's concept images for the built-in worlds: empty scenes of every place of all worlds.

DISC's authors generate concept images by name. The places of the other worlds are concepts that are unrelated to
the classes, like most concepts of a concept bank."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from ddb.data.images import png_bytes
from ddb.pocket.miniatures import MINIATURES
from ddb.pocket.world import FAMILIES, render, sample_scene

IMAGES = 60
"""Number of images of each concept."""


def write_concepts(folder: Path) -> Path:
    """Draw the concept images into `folder`, one sub-folder per place; returns it. A folder that exists is complete."""
    if folder.is_dir():
        return folder
    draft = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    rng = np.random.default_rng(0)
    for family in dict.fromkeys(miniature.family for miniature in MINIATURES.values()):
        for place in FAMILIES[family].places:
            home = draft / place.replace(" ", "-")
            home.mkdir(parents=True)
            for number in range(IMAGES):
                scene = sample_scene(rng, family=family, place=place, empty=True)
                (home / f"{number:03d}.png").write_bytes(png_bytes(render(scene).image))
    os.replace(draft, folder)
    return folder
