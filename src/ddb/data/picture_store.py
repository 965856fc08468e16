"""The training pictures that random crops are taken from: each whole, at a size that leaves the smallest crop about as
many pixels as the classifier's input has.

A square of the input's size would show the smallest crop enlarged, and only of the centre; the photograph itself costs
a decoding of megapixels for every crop. What lies between is decoded once and kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddb.data.images import Pixels, read_image
from ddb.data.picture_file import Pictures, PicturesAtUse, open_pictures, write_pictures
from ddb.data.preprocessing import Preprocessing, central
from ddb.data.table import Dataset
from ddb.errors import DataError

_LOG = logging.getLogger(__name__)


def for_crops(image: Pixels, size: int, smallest: float) -> Pixels:
    """A picture [H, W, 3] as it is kept: whole (its central part where it is very long, `preprocessing.LONGEST`),
    scaled down, never up, so that a square of the area share `smallest` (0 to 1], or the shorter side where that square
    does not fit, still has `size` pixels a side. The picture itself where it is no larger than that."""
    image = central(image)
    height, width = image.shape[:2]
    short, long = min(height, width), max(height, width)
    scale = size / (short * min(1.0, math.sqrt(smallest * long / short)))
    if scale >= 1:
        return image
    new = math.ceil(width * scale), math.ceil(height * scale)
    return np.asarray(Image.fromarray(image).resize(new, Image.Resampling.BICUBIC))


def picture_store(
    dataset: Dataset, ids: Sequence[str], preprocessing: Preprocessing, smallest: float, folder: Path
) -> Pictures:
    """The samples `ids` as `for_crops` keeps them, decoded once into a file of `folder` whose name holds the size, the
    smallest area share, the ids and the hash of the images' content.

    Read-only and memory mapped. A damaged file is made again. Where `dataset.decode_once` is off nothing is written and
    a picture is decoded when it is asked for. DataError names a file that broke after it was checked.
    """
    images, rows = dataset.samples["image"], [dataset.rows[name] for name in ids]

    def draw(row: int) -> Pixels:
        return for_crops(read_image(dataset.root, images[row].as_py()), preprocessing.size, smallest)

    if not dataset.decode_once:
        return PicturesAtUse(rows, draw)
    content = json.dumps([dataset.content or dataset.fingerprint, list(ids)])
    mark = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = folder / f"pictures-{preprocessing.size}-{smallest:g}-{mark}.bin"
    return kept_pictures(path, len(rows), lambda row: draw(rows[row]))


def kept_pictures(path: Path, count: int, draw: Callable[[int], Pixels]) -> Pictures:
    """The file of pictures at `path`, opened, and written first from `draw(row)`, uint8 [H, W, 3] of any size, where it
    is missing or damaged. DataError where the disk cannot hold it; what `draw` raises passes through."""
    found = open_pictures(path, count)
    if found is not None:
        return found
    if path.exists():
        _LOG.info("%s is damaged or of an older version of ddb: decoding the images again", path.name)
    try:
        write_pictures(path, count, draw)
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot store {count} pictures there: {error.strerror}. Without that file: "
            "--set data.decode_once=false (slower)"
        ) from error
    found = open_pictures(path, count)
    if found is None:
        raise DataError(f"{path} is not what was written to it: the disk loses data, use another one")
    return found
