"""Counterfactuals without a model: the object of a donor image is cut out, fitted into the region and feathered.

Before that, the source's object is filled with its surroundings, mirrored at its edge. A baseline generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from scipy import ndimage

from ddb.backends import Failed, Image, Mask, Painted, Task
from ddb.data.masks import blended, bounding_box, feather

Floats = npt.NDArray[np.float32]
LEAST_FIT = 0.5
"""Objects keep their size relative to their image, but fill at least this share of the region's box, at most all."""
RIM = 2
"""Width in pixels of the rim of the source's object that is filled as well, since masks are seldom exact."""


@dataclass(frozen=True)
class CopyPaste:
    """A Generator without weights; every task needs a donor. `edge`: width of the soft edge, px."""

    edge: int
    identity: str = "copy_paste"
    wants_donor: bool = True

    def prepare(self, tasks: Sequence[Task | Failed]) -> Sequence[Task | Failed]:
        """The tasks."""
        return tasks

    def paint(self, prepared: Sequence[Task | Failed], batch_size: int) -> Sequence[Task | Failed]:
        """The tasks: there is no model."""
        return prepared

    def finish(self, painted: Sequence[Task | Failed]) -> list[Painted | Failed]:
        """One result per task. A task fails if it has no donor, or if its mask or its donor's object is empty."""
        return [task if isinstance(task, Failed) else self._paint(task) for task in painted]

    def _paint(self, task: Task) -> Painted | Failed:
        if task.donor is None or not task.donor[1].any() or not task.mask.any():
            return Failed("copy-paste needs a mask and a donor whose object mask is not empty")
        pixels, cover = cut_out(*task.donor)
        if np.random.default_rng(task.seed).random() < 0.5:
            pixels, cover = pixels[:, ::-1], cover[:, ::-1]
        hole = task.mask if task.old is None else task.mask & ndimage.binary_dilation(task.old, iterations=RIM)
        filled = fill(task.image, hole).astype(np.float32)
        natural = min(task.mask.shape) / min(task.donor[1].shape)
        painted = _put(filled, task.mask, pixels, cover, natural)
        weights = feather(task.mask, self.edge)
        return Painted(blended(task.image, painted, weights), weights > 0)


def cut_out(image: Image, mask: Mask) -> tuple[Image, Mask]:
    """The object's bounding box; pixels outside the object are filled with its edge, so that scaling mixes no
    background in."""
    box = bounding_box(mask)
    inside = (slice(box.top, box.bottom), slice(box.left, box.right))
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return image[nearest[0], nearest[1]][inside], mask[inside]


def fill(image: Image, mask: Mask) -> Image:
    """Fill the mask with its surroundings: every pixel inside is mirrored at the nearest pixel outside."""
    if mask.all():
        return np.broadcast_to(image.mean(axis=(0, 1)).astype(np.uint8), image.shape).copy()
    nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    here = np.indices(mask.shape)
    limits = np.array(mask.shape)[:, None, None] - 1
    mirrored = np.clip(2 * nearest - here, 0, limits)
    usable = ~mask[mirrored[0], mirrored[1]]
    rows, columns = (np.where(usable, mirrored[axis], nearest[axis]) for axis in (0, 1))
    filled: Image = image[rows, columns]
    return filled


def _put(canvas: Floats, mask: Mask, pixels: Image, cover: Mask, natural: float) -> Floats:
    """Put the object into the middle of the region's bounding box, scaled by `natural` within what fits there."""
    box = bounding_box(mask)
    fit = min(box.height / cover.shape[0], box.width / cover.shape[1])
    scale = min(max(natural, LEAST_FIT * fit), fit)
    height, width = max(1, round(cover.shape[0] * scale)), max(1, round(cover.shape[1] * scale))
    size, smooth = (width, height), PillowImage.Resampling.BILINEAR
    scaled = np.asarray(PillowImage.fromarray(np.ascontiguousarray(pixels)).resize(size, smooth), np.float32)
    shades = PillowImage.fromarray(np.ascontiguousarray(cover).astype(np.uint8) * 255).resize(size, smooth)
    share = np.asarray(shades, np.float32)[..., None] / 255
    top, left = box.top + (box.height - height) // 2, box.left + (box.width - width) // 2
    under = canvas[top : top + height, left : left + width]
    canvas[top : top + height, left : left + width] = under + share * (scaled - under)
    return canvas
