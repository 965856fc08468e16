"""Masks that the user gives: a folder that mirrors the images', one PNG each, 255 = causal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as PillowImage

from ddb.backends import Found, Image, Mask
from ddb.data.images import resolve_inside
from ddb.errors import DataError

LISTED = 5
"""Faults that a message lists."""


@dataclass(frozen=True)
class GivenMasks:
    """A Segmenter that reads files. Its ids are the images' paths relative to the data root."""

    folder: Path
    identity: str

    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str) -> list[Found]:
        """DataError lists the first masks that are missing, unreadable or of another size than their image."""
        masks: list[Mask] = []
        faults: list[str] = []
        for name, image in zip(ids, images, strict=True):
            try:
                masks.append(self._read(name, image.shape[:2]))
            except DataError as error:
                faults.append(str(error))
        if faults:
            raise DataError(_listing(self.folder, faults))
        return [Found(mask, 1.0) for mask in masks]

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
    root = Path(folder).expanduser()
    paths = [resolve_inside(root, mask_name(name)) for name in images]
    with ThreadPoolExecutor() as pool:
        listed = sorted(zip(images, pool.map(_digest, paths), strict=True))
    return f"given_masks@{hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:12]}"


def check_complete(masks: GivenMasks, ids: Sequence[str]) -> None:
    """DataError that counts the images without a mask and lists the first, before anything is computed."""
    missing = masks.missing(ids)
    if missing:
        raise DataError(_listing(masks.folder, [f"{name} is missing" for name in missing]))


def mask_name(image: str) -> str:
    """places/0001.jpg -> places/0001.png"""
    return PurePosixPath(image).with_suffix(".png").as_posix()


def _digest(path: Path) -> str:
    """SHA-256 of a file in hex; "" where it cannot be read."""
    try:
        facts = path.stat()
        return _digest_of(path, facts.st_size, facts.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1 << 18)
def _digest_of(path: Path, size: int, modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _listing(folder: Path, faults: Sequence[str]) -> str:
    more = f" and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
    remedy = "Give one PNG of the image's size for every image, or choose another segment.backend."
    return f"{folder}: {len(faults)} mask(s) unusable: {', '.join(faults[:LISTED])}{more}. {remedy}"
