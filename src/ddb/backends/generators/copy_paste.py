"""Counterfactuals without a model: the object of a donor image is cut out, fitted into the region and feathered.

Before that, the source's object is filled with its surroundings, mirrored at its edge. A baseline generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ddb.backends import Failed, Image, Mask, Painted, Task
from ddb.data.composites import cut_out, place
from ddb.data.masks import blended, bounding_box, feather

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
        painted = place(filled, bounding_box(task.mask), pixels, cover, natural)
        weights = feather(task.mask, self.edge)
        return Painted(blended(task.image, painted, weights), weights > 0)


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
