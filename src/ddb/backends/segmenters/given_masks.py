"""Masks that the user gives: a folder of PNG files (`mask_folder`) or one COCO file (`coco_masks`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ddb.backends import Failed, Found, Image, Mask
from ddb.backends.segmenters.coco_masks import read_coco
from ddb.backends.segmenters.mask_folder import MaskFolder
from ddb.data.images import resolve_inside, upright_size
from ddb.data.reading.file_kinds import what_is
from ddb.errors import DataError

LISTED = 5
"""Faults and names that a message lists."""
CHUNK = 256
"""Number of masks that are hashed together."""
READING = 2
"""Version of the rules by which a file is read as a mask; results of another version are not used."""


class MaskSource(Protocol):
    """A source of given masks. Images are named by their paths below the data root."""

    @property
    def where(self) -> Path: ...

    def mask(self, image: str, phrase: str) -> Mask | None:
        """Bool HW; None where there is none. DataError with the mask's name and why it cannot be used."""
        ...

    def digest(self, image: str) -> str:
        """A hash of the mask's content; "" where there is none."""
        ...

    def looked_for(self, image: str) -> str: ...

    def doubles(self, images: Sequence[str]) -> list[str]:
        """Masks that match several of the images."""
        ...


@dataclass(frozen=True)
class GivenMasks:
    """A Segmenter that reads files. Its ids are the images' paths relative to the data root."""

    source: MaskSource
    identity: str

    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        """An image without a mask gets an empty mask with the reason; an image whose mask cannot be used fails.

        Masks are read one by one, whatever `batch_size`."""
        return [
            image if isinstance(image, Failed) else self._found(name, (image.shape[0], image.shape[1]), phrase)
            for name, image in zip(ids, images, strict=True)
        ]

    def _found(self, name: str, size: tuple[int, int], phrase: str) -> Found | Failed:
        nothing = np.zeros(size, np.bool_)
        try:
            mask = fitting(self.source, name, size, phrase)
        except DataError as error:
            return Failed(f"{self.source.where}: {error}")
        if mask is None:
            return Found(nothing, 0.0, reason=f"no mask is given: {self.source.looked_for(name)}")
        return Found(mask, 1.0)


@dataclass(frozen=True)
class Survey:
    """The given masks of some images: images with a `usable` mask (with an object), with an `empty` one, with none
    (`missing`), and `faults`: masks that cannot be used, with the reason."""

    usable: tuple[str, ...]
    empty: tuple[str, ...]
    missing: tuple[str, ...]
    faults: tuple[str, ...]


def open_given_masks(masks: str) -> GivenMasks:
    """`masks` (segment.masks) names a folder of PNG files or a COCO file. DataError if it is neither."""
    path = Path(masks).expanduser()
    if path.is_dir():
        return GivenMasks(MaskFolder(path), "given_masks")
    if path.suffix.lower() == ".json" and path.is_file():
        return GivenMasks(read_coco(path), "given_masks")
    told = f" but {what_is(path)}" if path.is_file() and what_is(path) else ""
    raise DataError(
        f"segment.masks: {path} is no folder{told}; give a folder that mirrors the images' with PNG masks, or a COCO "
        "file (.json)"
    )


def fitting(source: MaskSource, image: str, size: tuple[int, int], phrase: str) -> Mask | None:
    """The mask of an image of `size` (height, width), upright; None where there is none. DataError if it cannot be used
    or has another size."""
    mask = source.mask(image, phrase)
    if mask is None or mask.shape == size:
        return mask
    told = f"{source.looked_for(image)} is {mask.shape[1]}x{mask.shape[0]}, its image {size[1]}x{size[0]}"
    turned = ": the photograph is turned by EXIF and its mask is not; turn the mask" if mask.shape == size[::-1] else ""
    raise DataError(f"{told}{turned}")


def survey(masks: GivenMasks, root: Path, images: Sequence[str], phrase: str) -> Survey:
    """Open the mask of every image (paths below `root`), as a run does, several at a time."""
    found: dict[str, list[str]] = {"usable": [], "empty": [], "missing": [], "faults": []}

    def one(image: str) -> tuple[str, str]:
        try:
            size = upright_size(resolve_inside(root, image).read_bytes())
            mask = fitting(masks.source, image, size, phrase)
        except (DataError, OSError) as error:
            return "faults", str(error)
        return "missing" if mask is None else "usable" if mask.any() else "empty", image

    with ThreadPoolExecutor() as pool:
        for kind, name in pool.map(one, images):
            found[kind].append(name)
    found["faults"] += [f"{name} is taken by several images" for name in masks.source.doubles(images)]
    return Survey(**{kind: tuple(names) for kind, names in found.items()})


def survey_lines(found: Survey, masks: GivenMasks) -> tuple[list[str], list[str]]:
    """The lines of `ddb check` on given masks, and the faults that prevent a run."""
    total = len(found.usable) + len(found.empty) + len(found.missing) + len(found.faults)
    faults = []
    if found.faults:
        faults.append(
            f"segment.masks: {masks.source.where}: {len(found.faults)} mask(s) unusable: {_listed(found.faults)}"
        )
    if not found.usable and not found.faults:
        looked = _listed([masks.source.looked_for(name) for name in found.missing[:2]])
        why = f"looked for: {looked}" if found.missing else "all masks are empty"
        faults.append(f"segment.masks: {masks.source.where} has no mask for any of {total} training images ({why})")
    lines = [f"masks: {len(found.usable)} of {total} training images have one"]
    for names, what in (
        (found.missing, "have none and are skipped"),
        (found.empty, "have an empty one and are skipped"),
    ):
        if names:
            lines.append(f"masks: {len(names)} {what}: {_listed(names)}")
    return lines, faults


def masks_identity(masks: str, images: Sequence[str]) -> str:
    """ "given_masks@" and 12 hex digits of a hash over the images' names and the content of their masks, missing ones
    included. Files are read in parallel. DataError if a mask matches several images."""
    try:
        source = open_given_masks(masks).source
    except DataError:
        return f"given_masks@{_hash([READING, sorted(images)])}"
    if twice := source.doubles(images):
        raise DataError(
            f"segment.masks: {source.where}: {_listed(twice)} stand for several images: name their folders too"
        )
    ordered = sorted(images)
    chunks = [ordered[at : at + CHUNK] for at in range(0, len(ordered), CHUNK)]
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(lambda chunk: [source.digest(name) for name in chunk], chunks))
    return f"given_masks@{_hash([READING, *zip(chunks, digests, strict=True)])}"


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"
