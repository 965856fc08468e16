"""Masks that the user gives: a folder that mirrors the images', one PNG each, 255 = causal."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as PillowImage

from ddb.backends import Failed, Found, Image, Mask
from ddb.backends.content import file_hash
from ddb.data.images import resolve_inside
from ddb.errors import DataError

LISTED = 5
"""Faults that a message lists."""
REMEDY = "Give one PNG of the image's size for every image, or choose another segment.backend."
CHUNK = 256
"""Files that are hashed in one go."""


@dataclass(frozen=True)
class GivenMasks:
    """A Segmenter that reads files. Its ids are the images' paths relative to the data root."""

    folder: Path
    identity: str

    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        """An image fails if its mask is missing, unreadable or of another size, or if it has no id. Masks are read one
        by one, whatever `batch_size` is."""
        return [
            image if isinstance(image, Failed) else self._found(name, image)
            for name, image in zip(ids, images, strict=True)
        ]

    def _found(self, name: str, image: Image) -> Found | Failed:
        if not name:
            return Failed("an image without a path has no given mask")
        try:
            return Found(self._read(name, image.shape[:2]), 1.0)
        except DataError as error:
            return Failed(f"{self.folder}: {error}. {REMEDY}")

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Mask files that these images lack, relative to the folder."""
        return [mask_name(name) for name in ids if not (self.folder / mask_name(name)).is_file()]

    def _read(self, name: str, shape: tuple[int, ...]) -> Mask:
        path = resolve_inside(self.folder, mask_name(name))
        try:
            with PillowImage.open(path, formats=("PNG",)) as file:
                if file.size != (shape[1], shape[0]):
                    size = f"{file.width}x{file.height}"
                    raise DataError(f"{mask_name(name)} is {size}, its image {shape[1]}x{shape[0]}")
                return np.asarray(file.convert("L")) >= 128
        except FileNotFoundError:
            raise DataError(f"{mask_name(name)} is missing") from None
        except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
            raise DataError(f"{mask_name(name)} is no readable PNG ({error})") from error


def open_given_masks(folder: str) -> GivenMasks:
    """DataError if there is no such folder."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(f"segment.masks: {path} is no folder; it should mirror the images' folder with PNG masks.")
    return GivenMasks(path, "given_masks")


def masks_identity(folder: str, images: Sequence[str]) -> str:
    """ "given_masks@" and 12 hex digits of a hash over the names and contents of the mask files that these images have;
    a file that is not there counts as such. Files are read side by side, each once a process while it does not change.
    """
    root, ordered = str(Path(folder).expanduser()), sorted(images)
    chunks = [ordered[at : at + CHUNK] for at in range(0, len(ordered), CHUNK)]
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        for chunk, digests in zip(chunks, pool.map(lambda chunk: _digests(root, chunk), chunks), strict=True):
            total.update(json.dumps([chunk, digests]).encode())
    return f"given_masks@{total.hexdigest()[:12]}"


def check_complete(masks: GivenMasks, ids: Sequence[str]) -> None:
    """DataError that counts the images without a mask and lists the first, before anything is computed."""
    missing = masks.missing(ids)
    if missing:
        raise DataError(_listing(masks.folder, [f"{name} is missing" for name in missing]))


def mask_name(image: str) -> str:
    """places/0001.jpg -> places/0001.png"""
    return PurePosixPath(image).with_suffix(".png").as_posix()


def _digests(root: str, images: Sequence[str]) -> list[str]:
    """SHA-256 of each image's mask file in hex; "" where it cannot be read."""
    digests = []
    for name in images:
        try:
            digests.append(file_hash(os.path.join(root, mask_name(name))))
        except OSError:
            digests.append("")
    return digests


def _listing(folder: Path, faults: Sequence[str]) -> str:
    more = f" and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
    return f"{folder}: {len(faults)} mask(s) unusable: {', '.join(faults[:LISTED])}{more}. {REMEDY}"
