"""The training pictures from which random crops are cut: each whole, scaled so that the smallest crop has about as many
pixels as the classifier's input.

From a square of the input size the smallest crop would be enlarged and limited to the centre; cropping the photograph
itself would decode megapixels for every crop. Pictures of an intermediate size are decoded once and stored.
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
from ddb.data.preprocessing import Preprocessing, central
from ddb.data.stores.picture_file import Pictures, PicturesAtUse, open_pictures, write_pictures
from ddb.data.table import Dataset
from ddb.errors import DataError

_LOG = logging.getLogger(__name__)


def for_crops(image: Pixels, size: int, smallest: float) -> Pixels:
    """The stored form of a picture [H, W, 3]: whole (its central part where it is very long, `preprocessing.LONGEST`),
    scaled down, never up, so that a square of the area share `smallest` in (0, 1], or the shorter side where that
    square does not fit, has a side of `size` pixels. The picture itself where it is no larger than that."""
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
    """The pictures of the samples `ids` in the form of `for_crops`, decoded once into a file of `folder`. The file's
    name depends on the size, the smallest area share, the ids and the hash of the images' content.

    They are read-only and memory mapped. A damaged file is made again. Where `dataset.decode_once` is off nothing is
    written and pictures are decoded on access. DataError names a file that was damaged after it was checked.
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


def kept_pictures(path: Path, count: int, draw: Callable[[int], Pixels], workers: int | None = None) -> Pictures:
    """The file of pictures at `path`, opened, and written first from `draw(row)`, uint8 [H, W, 3] of any size, where it
    is missing or damaged, with `workers` threads (default: one per core). DataError where the disk is full; exceptions
    of `draw` pass through."""
    found = open_pictures(path, count)
    if found is not None:
        return found
    if path.exists():
        _LOG.info("%s is damaged or of an older version of ddb: decoding the images again", path.name)
    try:
        write_pictures(path, count, draw, workers)
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot store {count} pictures there: {error.strerror}. Without that file: "
            "--set data.decode_once=false (slower)"
        ) from error
    found = open_pictures(path, count)
    if found is None:
        raise DataError(f"{path} is not what was written to it: the disk loses data, use another one")
    return found
