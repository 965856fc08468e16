"""The pictures of a data set as squares at a classifier's input size, decoded once and stored on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from ddb.data.images import Pixels, read_image
from ddb.data.preprocessing import Preprocessing
from ddb.data.stores.pixel_file import DecodedAtUse, open_pixels, write_pixels
from ddb.data.table import Dataset
from ddb.errors import DataError

_LOG = logging.getLogger(__name__)
FEW = 512
"""Images that are decoded at once where no pixels are kept on disk."""


def pixel_store(dataset: Dataset, ids: Sequence[str], preprocessing: Preprocessing, folder: Path) -> Pixels:
    """Squares of the samples `ids`: uint8 [N, size, size, 3], read-only, decoded once for all stages of a run.

    The whole data set is decoded into one file of `folder` on the first call (`pixel_file`); its name holds the size,
    the crop, the interpolation and the hash of the images' content. A damaged file is made again. Ids in table order
    without gaps (a split, train and val) are returned as a memory-mapped view, others as a copy in memory: request
    those in batches. Where `dataset.decode_once` is off nothing is written, and for more than `FEW` ids the pixels are
    decoded on access (`DecodedAtUse`). DataError names a file that was damaged after it was checked.
    """
    images, count = dataset.samples["image"], dataset.samples.num_rows
    rows, side = [dataset.rows[name] for name in ids], preprocessing.size

    def draw(row: int) -> Pixels:
        return preprocessing.square(read_image(dataset.root, images[row].as_py()))

    if not dataset.decode_once:
        later = DecodedAtUse(rows, side, draw)
        return cast(Pixels, later) if len(rows) > FEW else later[:]
    path = folder / f"pixels-{preprocessing.key}-{(dataset.content or dataset.fingerprint)[:16]}.npy"
    store = open_pixels(path, count, side)
    if store is None:
        if path.exists():
            _LOG.info("%s is damaged or of an older version of ddb: decoding the images again", path.name)
        store = _written(path, count, side, draw)
    if rows and rows == list(range(rows[0], rows[0] + len(rows))):
        return store[rows[0] : rows[0] + len(rows)]
    return store[np.array(rows, dtype=np.int64)]


def _written(path: Path, count: int, side: int, draw: Callable[[int], Pixels]) -> Pixels:
    try:
        write_pixels(path, count, side, draw)
    except OSError as error:
        needed = count * side * side * 3 / 1e9
        raise DataError(
            f"{path.parent}: cannot store {needed:.1f} GB of pixels there: {error.strerror}. Without that file: "
            "--set data.decode_once=false (slower)"
        ) from error
    store = open_pixels(path, count, side)
    if store is None:
        raise DataError(f"{path} is not what was written to it: the disk loses data, use another one")
    return store
