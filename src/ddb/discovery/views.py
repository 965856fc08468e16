"""What an encoder is shown of an image: its surroundings without the object, or the object without its surroundings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ddb.data.masks import bounding_box

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
GREY = 127
MARGIN = 1 / 32
"""Share of an image's shorter side by which a hole is widened: 2 pixels of 64."""


class Box(NamedTuple):
    """Sides of a box as shares of the image's height and width, 0 to 1."""

    top: float
    left: float
    bottom: float
    right: float

    @property
    def size(self) -> tuple[float, float]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left


def without_object(image: Image, hole: Mask) -> Image:
    """The image (uint8 HWC) with the pixels of `hole` (bool HW) filled by the mean colour of the others. An image that
    is all hole becomes grey; an empty hole leaves it as it is."""
    if not hole.any():
        return image
    out = image.copy()
    out[hole] = GREY if hole.all() else np.round(image[~hole].mean(axis=0)).astype(np.uint8)
    return out


def widened(mask: Mask) -> Mask:
    """The mask (bool HW) wider by `MARGIN`: pixels at an object's edge hold some of its colour."""
    pixels = max(1, round(MARGIN * min(mask.shape)))
    out: Mask = ndimage.binary_dilation(mask, np.ones((3, 3)), pixels)
    return out


def box_of(mask: Mask) -> Box:
    """The box of a mask that is not empty."""
    (height, width), own = mask.shape, bounding_box(mask)
    return Box(own.top / height, own.left / width, own.bottom / height, own.right / width)


def box_hole(box: Box, least: tuple[float, float], shape: tuple[int, int]) -> Mask:
    """A box as a hole in an image of `shape` (height, width): enlarged about its centre to the height and width `least`
    (shares of the image's) where it is smaller; what would reach beyond the image is moved inside."""
    hole = np.zeros(shape, np.bool_)
    sides = ((box.top, box.bottom, least[0], shape[0]), (box.left, box.right, least[1], shape[1]))
    hole[tuple(_side(*side) for side in sides)] = True
    return hole


def _side(start: float, stop: float, least: float, full: int) -> slice:
    length = min(max(stop - start, least), 1.0)
    first = min(max((start + stop - length) / 2, 0.0), 1 - length)
    return slice(round(first * full), max(round((first + length) * full), round(first * full) + 1))


def inside(image: Image, mask: Mask) -> Image:
    """The object on grey, cut out as a square around its box; grey too where the square reaches beyond the image.
    ValueError if the mask is empty."""
    if not mask.any():
        raise ValueError("the mask is empty")
    box = bounding_box(mask)
    side = max(box.height, box.width)
    out = np.full((side, side, 3), GREY, np.uint8)
    top, left = (side - box.height) // 2, (side - box.width) // 2
    own = mask[box.top : box.bottom, box.left : box.right]
    place = out[top : top + box.height, left : left + box.width]
    place[own] = image[box.top : box.bottom, box.left : box.right][own]
    return out
