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
from ddb.backends.batches import read_or_failed
from ddb.config import DiscoverConfig
from ddb.data.images import mask_png, read_mask
from ddb.data.table import Dataset
from ddb.discovery.views import Box, box_hole, box_of, inside, widened, without_object
from ddb.errors import DataError
from ddb.learn.seeds import seed_of

if TYPE_CHECKING:
    from ddb.backends.encoders.text_image import TextImageEncoder

Vectors = npt.NDArray[np.float32]
PARTNERS = 8
"""Other classes whose objects a hole is compared with, at most."""
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

    surroundings: Vectors
    object: Vectors
    found: npt.NDArray[np.bool_]
    read: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Models:
    """What looks at images; `batch_size` of the segmenter."""

    segmenter: Segmenter
    encoder: TextImageEncoder
    batch_size: int


def embed(
    dataset: Dataset, models: Models, settings: DiscoverConfig, seed: int, say: Callable[[str], object]
) -> Embedded:
    """Embed all images, in two passes: objects, then surroundings. DataError where no object is found in any training
    image, or no image can be read."""
    found = _objects(dataset, models, settings, say)
    train = np.array(dataset.samples["split"].to_pylist()) == "train"
    there = np.array([one is not None for one in found])
    if not (there & train).any():
        raise DataError(
            f"no object was found in any of {int(train.sum()):,} training images, so their surroundings are not known. "
            "Look at `ddb segment --preview 12`; then change data.phrase or segment's settings, or give masks "
            "(segment.backend=given, segment.masks=DIR)."
        )
    boxes = [None if one is None else one.box for one in found]
    sizes = neutral_sizes(boxes, dataset.samples["label"].to_numpy(), seed)
    around = _surroundings(dataset, models, found, sizes, settings, say)
    read = np.array([not isinstance(row, Failed) for row in around])
    if not read.any():
        reason = next(row.reason for row in around if isinstance(row, Failed))
        raise DataError(f"{dataset.root}: no image could be embedded; the first: {reason}")
    nothing = np.zeros(next(len(row) for row in around if not isinstance(row, Failed)), np.float32)
    surroundings = np.stack([nothing if isinstance(row, Failed) else row for row in around])
    objects = np.stack([nothing if one is None else one.vector for one in found])
    return Embedded(surroundings, objects, there & read, read)


@dataclass(frozen=True)
class _Object:
    """An object that was found: its box, its mask as PNG (b"" where only the box is filled), its vector."""

    box: Box
    mask: bytes
    vector: Vectors


def neutral_sizes(boxes: Sequence[Box | None], labels: npt.NDArray[np.integer], seed: int) -> list[tuple[float, float]]:
    """For each image the least height and width of its hole: the largest among its own object and one of every other
    class (at most `PARTNERS` of them), drawn at random. So the holes of all classes have the same sizes, and tell
    nothing of the class. Images without an object: (0, 0)."""
    rng = np.random.default_rng(seed_of(seed, "discover", "holes"))
    own: dict[int, list[tuple[float, float]]] = {}
    for box, label in zip(boxes, labels.tolist(), strict=True):
        if box is not None:
            own.setdefault(label, []).append(box.size)
    out = []
    for box, label in zip(boxes, labels.tolist(), strict=True):
        others = [other for other in sorted(own) if other != label]
        chosen = rng.permutation(others)[:PARTNERS].tolist() if box is not None else []
        drawn = [own[other][int(rng.integers(len(own[other])))] for other in chosen]
        sizes = [(0.0, 0.0) if box is None else box.size, *drawn]
        out.append((max(height for height, _ in sizes), max(width for _, width in sizes)))
    return out


def _objects(
    dataset: Dataset, models: Models, settings: DiscoverConfig, say: Callable[[str], object]
) -> list[_Object | None]:
    """The first pass: each image's object, or None."""
    found: list[_Object | None] = []
    for paths in _chunks(dataset, "objects", say):
        images = [read_or_failed(dataset.root, path) for path in paths]
        masks = models.segmenter.segment(paths, images, dataset.phrase, models.batch_size)
        pairs = [
            None if isinstance(image, Failed) or isinstance(mask, Failed) or not mask.mask.any() else (image, mask.mask)
            for image, mask in zip(images, masks, strict=True)
        ]
        cut = [Failed("no object") if pair is None else inside(*pair) for pair in pairs]
        for pair, vector in zip(pairs, models.encoder.images(cut, settings.batch_size), strict=True):
            if pair is None or isinstance(vector, Failed):
                found.append(None)
            else:
                kept = mask_png(pair[1]) if settings.hole == "mask" else b""
                found.append(_Object(box_of(widened(pair[1])), kept, vector))
    return found


def _surroundings(
    dataset: Dataset,
    models: Models,
    found: Sequence[_Object | None],
    sizes: Sequence[tuple[float, float]],
    settings: DiscoverConfig,
    say: Callable[[str], object],
) -> list[Vectors | Failed]:
    """The second pass: each image without its object."""
    vectors: list[Vectors | Failed] = []
    for paths in _chunks(dataset, "surroundings", say):
        start = len(vectors)
        around: list[Image | Failed] = []
        for row, path in enumerate(paths, start=start):
            image, one = read_or_failed(dataset.root, path), found[row]
            if isinstance(image, Failed) or one is None:
                around.append(image)
                continue
            shape = (image.shape[0], image.shape[1])
            hole = widened(read_mask(one.mask)) if one.mask else box_hole(one.box, sizes[row], shape)
            around.append(without_object(image, hole))
        vectors += models.encoder.images(around, settings.batch_size)
    return vectors


def _chunks(dataset: Dataset, what: str, say: Callable[[str], object]) -> Iterator[list[str]]:
    """The images' paths, `CHUNK` at a time."""
    paths: list[str] = dataset.samples["image"].to_pylist()
    for start in range(0, len(paths), CHUNK):
        yield paths[start : start + CHUNK]
        done = min(start + CHUNK, len(paths))
        if done // TOLD > start // TOLD:
            say(f"discover: {what} of {done:,} of {len(paths):,} images embedded")


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
