"""Images of a data set at a classifier's input, and their masks: read in batches, never all at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ddb.backends import Failed, Segmenter
from ddb.backends.registry import open_segmenter
from ddb.backends.segmenters.given_masks import open_given_masks
from ddb.config import GivenMasksConfig, RunConfig, SegmentConfig, segment_config
from ddb.context import Context, Models
from ddb.data.composites import has_surroundings
from ddb.data.images import Mask, Pixels, read_image
from ddb.data.masks import TOO_LARGE, region
from ddb.data.preprocessing import Preprocessing
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.learn.seeds import seed_of
from ddb.records import ERROR, OK

BATCH = 64
MASKS = "masks"
"""Folder of the data whose masks come before the configured segmenter's."""


@dataclass(frozen=True, eq=False)
class Scene:
    """An image at the classifier's input with its object: uint8 [S, S, 3], bool [S, S]."""

    id: str
    label: int
    pixels: Pixels
    mask: Mask


@dataclass(frozen=True, eq=False)
class Masked:
    """An image and its mask at the classifier's input, uint8 [S, S, 3] and bool [S, S]. `status` "ok": there is an
    object of usable size in the square, with surroundings. `problem`: why segmenting failed, else ""."""

    status: str
    pixels: Pixels
    mask: Mask
    problem: str


@dataclass(frozen=True)
class Look:
    """`scenes`: the images with a usable mask, in order; `statuses`: how many of the images asked for came out how (as
    the statuses of stage segment); `problem`: the first reason of those that could not be segmented, "": none."""

    scenes: tuple[Scene, ...]
    statuses: Counter[str]
    problem: str = ""


@dataclass(frozen=True)
class Masks:
    """A segmenter with its settings; `note`: where the masks come from, for people."""

    segmenter: Segmenter
    settings: SegmentConfig
    note: str


@dataclass(frozen=True)
class Images:
    """The images of `dataset`, as `preprocessing` makes them."""

    dataset: Dataset
    preprocessing: Preprocessing

    def path(self, name: str) -> str:
        """The path of a sample's image below the data's root."""
        path: str = self.dataset.samples["image"][self.dataset.rows[name]].as_py()
        return path

    def label(self, name: str) -> int:
        label: int = self.dataset.samples["label"][self.dataset.rows[name]].as_py()
        return label

    def batches(self, ids: Sequence[str]) -> Iterator[Pixels]:
        """Squares uint8 [b, S, S, 3] of the samples, `BATCH` at a time. DataError names a file that cannot be read."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(ids), BATCH):
                yield np.stack(list(pool.map(self._square, ids[start : start + BATCH])))

    def scenes(self, ids: Sequence[str], masks: Masks) -> Look:
        """The samples with their masks at the classifier's input."""
        found: list[Scene] = []
        statuses: Counter[str] = Counter()
        problem = ""
        for start in range(0, len(ids), masks.settings.batch_size):
            part = ids[start : start + masks.settings.batch_size]
            paths = [self.path(name) for name in part]
            images = [read_image(self.dataset.root, path) for path in paths]
            outcomes = masked(paths, images, masks, self.dataset.phrase, self.preprocessing)
            for name, one in zip(part, outcomes, strict=True):
                statuses[one.status] += 1
                problem = problem or one.problem
                if one.status == OK:
                    found.append(Scene(name, self.label(name), one.pixels, one.mask))
        return Look(tuple(found), statuses, problem)

    def _square(self, name: str) -> Pixels:
        return self.preprocessing.square(read_image(self.dataset.root, self.path(name)))


def masked(
    names: Sequence[str], images: Sequence[Pixels], masks: Masks, phrase: str, preprocessing: Preprocessing
) -> list[Masked]:
    """One for each image (uint8 HWC of any size); `names`: by which given masks find their files."""
    found = masks.segmenter.segment(names, images, phrase, masks.settings.batch_size)
    outcomes = []
    for image, one in zip(images, found, strict=True):
        thing = np.zeros(image.shape[:2], np.bool_) if isinstance(one, Failed) else one.mask
        status = ERROR if isinstance(one, Failed) else region(thing, masks.settings, phrase).status
        mask = preprocessing.mask(thing)
        if status == OK and not (mask.any() and has_surroundings(mask)):
            status = TOO_LARGE
        problem = one.reason if isinstance(one, Failed) else ""
        outcomes.append(Masked(status, preprocessing.square(image), mask, problem))
    return outcomes


def open_masks(config: RunConfig, dataset: Dataset, context: Context, models: Models) -> Masks:
    """Given masks come first: those of the setting `segment.masks`, else those of a folder `masks` in the data's root,
    where it has one for a test image; else the configured segmenter. DDBError where that cannot be opened."""
    settings = config.segment
    folder = dataset.root / MASKS
    if not isinstance(settings, GivenMasksConfig) and folder.is_dir():
        given = open_given_masks(str(folder))
        if any(given.source.digest(image) for image in dataset.split("test")["image"].to_pylist()):
            kept = settings.model_dump(include=set(GivenMasksConfig.model_fields) - {"backend", "masks"})
            own = segment_config(**{**kept, "backend": "given", "masks": str(folder)})
            return Masks(given, own, f"given, {folder}")
    note = f"given, {settings.masks}" if isinstance(settings, GivenMasksConfig) else f"found by {settings.backend}"
    return Masks(open_segmenter(settings, context, models), settings, note)


def require_some(look: Look, phrase: str, note: str) -> None:
    """DataError where no image has a usable mask."""
    if look.statuses and not look.scenes:
        found = ", ".join(f"{count} {status}" for status, count in look.statuses.most_common())
        told = f". First error: {look.problem}" if look.problem else ""
        raise DataError(
            f"none of {look.statuses.total()} images has a usable mask of {phrase!r} ({found}; masks {note}){told}: "
            "change data.phrase or segment's settings, or give masks (segment.backend=given, segment.masks)."
        )


def drawn(ids: Sequence[str], count: int, *name: int | str) -> list[str]:
    """At most `count` of the ids, drawn without replacement with the seed of `name`, in their order."""
    if len(ids) <= count:
        return list(ids)
    rows = np.random.default_rng(seed_of(*name)).choice(len(ids), count, replace=False)
    return [ids[row] for row in sorted(rows.tolist())]
