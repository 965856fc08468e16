"""Given masks as one COCO file: {"images": [...], "annotations": [...], "categories": [...]}.

An image's mask is the union of its annotations, crowds included. If `data.phrase` is the name of a category, only its
annotations are used; otherwise all are.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ddb.backends import Mask
from ddb.backends.segmenters.coco_shapes import shape_mask
from ddb.data.reading.json_text import parse_json
from ddb.errors import DataError


@dataclass(frozen=True)
class _Annotation:
    """`key`: its id, for messages; `category`: the name; `segmentation`: as the file has it."""

    key: object
    category: str
    segmentation: Any


@dataclass(frozen=True)
class _Entry:
    """An image of the file: its size in pixels and its annotations."""

    name: str
    height: int
    width: int
    annotations: tuple[_Annotation, ...]


@dataclass(frozen=True)
class CocoMasks:
    """A `MaskSource`. `where`: the file. `entries`: last part of an image's name -> the images that end in it."""

    where: Path
    entries: Mapping[str, Sequence[_Entry]]
    categories: frozenset[str]

    def mask(self, image: str, phrase: str) -> Mask | None:
        """The union of an image's annotations, bool HW at the size given in the file; None where the file has none.
        DataError names the annotation that cannot be used."""
        entry = self._entry(image)
        wanted = plain(phrase) if plain(phrase) in self.categories else None
        chosen = [a for a in entry.annotations if wanted in (None, plain(a.category))] if entry else []
        if entry is None or not chosen:
            return None
        mask = np.zeros((entry.height, entry.width), np.bool_)
        for annotation in chosen:
            try:
                mask |= shape_mask(annotation.segmentation, (entry.height, entry.width))
            except (ValueError, TypeError, OverflowError) as error:
                raise DataError(f"{entry.name}: annotation {annotation.key}: {error}") from error
        return mask

    def digest(self, image: str) -> str:
        """A hash of the image's size and annotations; "" where the file has none."""
        try:
            entry = self._entry(image)
        except DataError as error:
            return str(error)
        if entry is None or not entry.annotations:
            return ""
        held = [[a.category, a.segmentation] for a in entry.annotations]
        return hashlib.sha256(json.dumps([entry.height, entry.width, held]).encode()).hexdigest()

    def looked_for(self, image: str) -> str:
        """Description of the entry that the file should have for this image, for messages."""
        return f"an image {PurePosixPath(image).name} with annotations"

    def doubles(self, images: Iterable[str]) -> list[str]:
        """Names in the file that match several of `images`, which happens where it leaves folders out."""
        entries = {image: self._entry(image) for image in images}
        taken = Counter(id(entry) for entry in entries.values() if entry)
        return sorted({entry.name for entry in entries.values() if entry and taken[id(entry)] > 1})

    def _entry(self, image: str) -> _Entry | None:
        """The entry with the longest name that is a suffix of `image`, or of which `image` is a suffix."""
        parts = PurePosixPath(image).parts
        fitting = [
            (length, entry)
            for entry in self.entries.get(parts[-1], ())
            if (length := _common_end(parts, PurePosixPath(entry.name).parts))
        ]
        longest = max((length for length, _ in fitting), default=0)
        best = [entry for length, entry in fitting if length == longest]
        if len(best) > 1:
            names = ", ".join(entry.name for entry in best[:3])
            raise DataError(f"{image} may be any of {names}: the file should name images as the data does")
        return best[0] if best else None


def read_coco(path: Path) -> CocoMasks:
    """Read a COCO file. DataError where it is no COCO file of images with annotations."""
    try:
        held = parse_json(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"segment.masks: {path} is not readable JSON: {error}") from error
    try:
        names = {item["id"]: str(item["name"]) for item in held.get("categories", [])}
        of_image: dict[Any, list[_Annotation]] = defaultdict(list)
        for item in held["annotations"]:
            name = names.get(item.get("category_id"), "")
            of_image[item["image_id"]].append(_Annotation(item.get("id"), name, item.get("segmentation")))
        entries: dict[str, list[_Entry]] = defaultdict(list)
        for item in held["images"]:
            name = str(item["file_name"]).replace("\\", "/").removeprefix("./").lstrip("/")
            size = int(item["height"]), int(item["width"])
            entries[PurePosixPath(name).name].append(_Entry(name, *size, tuple(of_image.get(item["id"], ()))))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"segment.masks: {path} is no COCO file: it should hold images (id, file_name, height, width), annotations "
            f"(image_id, category_id, segmentation) and categories (id, name); {type(error).__name__}: {error}"
        ) from error
    return CocoMasks(path, entries, frozenset(plain(name) for name in names.values()))


def plain(name: str) -> str:
    """A category or phrase for comparison: without case, outer spaces and full stop."""
    return unicodedata.normalize("NFC", name).strip(" .").casefold()


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    """Number of parts that two paths have in common at their ends, where the shorter one is the end of the other; 0
    where it is not."""
    length = min(len(a), len(b))
    return length if tuple(a[-length:]) == tuple(b[-length:]) else 0
