"""Every image as two vectors: what surrounds its object, and the object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from ddb.backends import Failed, Image, Segmenter
from ddb.config import DiscoverConfig
from ddb.data.images import read_image
from ddb.data.table import Dataset
from ddb.discovery.views import inside, outside
from ddb.errors import DataError

if TYPE_CHECKING:
    from ddb.backends.encoders.text_image import TextImageEncoder

CHUNK = 64
"""Images that are in memory at once."""
TOLD = 1000
"""Images between two lines of progress."""
FILE = "embeddings.safetensors"


@dataclass(frozen=True)
class Embedded:
    """In the order of the data set's samples: `surroundings` and `object` float32 [N, D], rows of unit length. `found`
    [N]: whether an object was found; without one the surroundings are the whole image and the object is zero. `read`
    [N]: False for images that cannot be used at all."""

    surroundings: npt.NDArray[np.float32]
    object: npt.NDArray[np.float32]
    found: npt.NDArray[np.bool_]
    read: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Models:
    """What looks at images; `batch_size` of the segmenter."""

    segmenter: Segmenter
    encoder: TextImageEncoder
    batch_size: int


def embed(dataset: Dataset, models: Models, settings: DiscoverConfig, say: Callable[[str], object]) -> Embedded:
    """Embed all images. DataError where no object is found in any training image."""
    paths: list[str] = dataset.samples["image"].to_pylist()
    rows: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None] | Failed] = []
    for start in range(0, len(paths), CHUNK):
        rows += _rows(dataset, paths[start : start + CHUNK], models, settings)
        if len(rows) // TOLD > start // TOLD:
            say(f"discover: {len(rows):,} of {len(paths):,} images embedded")
    read = np.array([not isinstance(row, Failed) for row in rows])
    if not read.any():
        reason = next(row.reason for row in rows if isinstance(row, Failed))
        raise DataError(f"{dataset.root}: no image could be embedded; the first: {reason}")
    width = next(len(row[0]) for row in rows if not isinstance(row, Failed))
    nothing = np.zeros(width, np.float32)
    pairs = [(nothing, None) if isinstance(row, Failed) else row for row in rows]
    found = np.array([pair[1] is not None for pair in pairs])
    train = np.array(dataset.samples["split"].to_pylist()) == "train"
    if not (found & train).any():
        raise DataError(
            f"no object was found in any of {int(train.sum()):,} training images, so their surroundings are not known. "
            "Look at `ddb segment --preview 12`; then change data.phrase or segment's settings, or give masks "
            "(segment.backend=given, segment.masks=DIR)."
        )
    surroundings = np.stack([pair[0] for pair in pairs])
    return Embedded(surroundings, np.stack([nothing if b is None else b for _, b in pairs]), found, read)


def _rows(
    dataset: Dataset, paths: Sequence[str], models: Models, settings: DiscoverConfig
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None] | Failed]:
    images = [_read(dataset.root, path) for path in paths]
    masks = models.segmenter.segment(paths, images, dataset.phrase, models.batch_size)
    around: list[Image | Failed] = []
    objects: list[Image | Failed] = []
    for image, mask in zip(images, masks, strict=True):
        if isinstance(image, Failed) or isinstance(mask, Failed) or not mask.mask.any():
            around.append(image)
            objects.append(Failed("no object"))
            continue
        around.append(outside(image, mask.mask, settings.hole))
        objects.append(inside(image, mask.mask))
    outer = models.encoder.images(around, settings.batch_size)
    inner = models.encoder.images(objects, settings.batch_size)
    for one, other in zip(outer, inner, strict=True):
        yield one if isinstance(one, Failed) else (one, None if isinstance(other, Failed) else other)


def _read(root: Path, path: str) -> Image | Failed:
    try:
        return read_image(root, path)
    except DataError as error:
        return Failed(str(error))


def stored(folder: Path, identity: str) -> Embedded | None:
    """What `store` wrote under `folder` with this identity; None where there is nothing, or something else."""
    path = folder / FILE
    if not path.is_file():
        return None
    with safe_open(path, "numpy") as file:
        if (file.metadata() or {}).get("identity") != identity:
            return None
        return Embedded(*(file.get_tensor(name) for name in ("surroundings", "object", "found", "read")))


def store(folder: Path, identity: str, found: Embedded) -> None:
    """Write the vectors, so that a changed vocabulary or level needs no model but the encoder."""
    draft = folder / f".{FILE}.tmp"
    save_file(dict(vars(found)), draft, {"identity": identity})
    draft.replace(folder / FILE)
