"""Concept images from a folder with one sub-folder per concept, which gives the concept its name. The images are in
that sub-folder or in its sub-folder `positives` (the layout of DISC's published synthetic_concepts)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ddb.data.images import SUFFIXES, read_image
from ddb.data.preprocessing import Preprocessing
from ddb.errors import DataError
from ddb.learn.classifier import Pixels

LEAST = 5
"""Fewest images of a concept: four for training its SVM and one for its held-out accuracy."""


def read_concepts(folder: Path, preprocessing: Preprocessing, most: int) -> dict[str, Pixels]:
    """name -> the first `most` images by name, uint8 [n, size, size, 3]. DataError for a folder that is missing, holds
    fewer than two concepts, or a concept with fewer than `LEAST` images."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of concept images. It holds one sub-folder of images a concept.")
    homes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(homes) < 2:
        raise DataError(f"{folder}: {len(homes)} sub-folders; two concepts or more are needed, a sub-folder each.")
    concepts = {}
    for home in homes:
        images = home / "positives" if (home / "positives").is_dir() else home
        names = sorted(path.name for path in images.iterdir() if path.suffix.lower() in SUFFIXES)[:most]
        if len(names) < LEAST:
            raise DataError(f"{images}: {len(names)} images; a concept needs {LEAST} or more (JPEG, PNG, WebP).")
        concepts[home.name] = np.stack([preprocessing.square(read_image(images, name)) for name in names])
    return concepts
