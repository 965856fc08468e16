"""From a source image of any size to the generator's square and back; pixels outside the mask are unchanged.

Images are uint8 HWC RGB 0-255, masks bool HW (True = repaint).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PillowImage

from ddb.backends import Image, Mask, Painted
from ddb.data.masks import blended, bounding_box, feather

CROP_CONTEXT = 1.6
"""Side of a crop in units of the side of the mask's bounding box: the share of surroundings that the generator sees."""
FIT_CONTEXT = 1.1
"""The same for a mask that is longer than the image's shorter side."""


@dataclass(frozen=True)
class Window:
    """A square of the source, in pixels; it may reach beyond the frame, where edge pixels are repeated."""

    top: int
    left: int
    side: int


def window(mask: Mask, crop: bool) -> Window:
    """The square that is painted: as large as the image's shorter side, or close about the mask if `crop`.

    It holds the whole mask and lies inside the frame wherever it fits. ValueError if the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: nothing to repaint")
    box, shorter = bounding_box(mask), min(mask.shape)
    longest = max(box.height, box.width)
    side = shorter if longest <= shorter else math.ceil(longest * FIT_CONTEXT)
    if crop:
        side = min(side, math.ceil(longest * CROP_CONTEXT))
    top = _start(box.top, box.bottom, mask.shape[0], side)
    return Window(top, _start(box.left, box.right, mask.shape[1], side), side)


def take(image: Image, mask: Mask, area: Window, size: int) -> tuple[Image, Mask]:
    """The window's pixels and mask at `size` x `size`. A pixel is masked if any of the source's under it was."""
    pixels, hole = _cut(image, area, "edge"), _cut(mask, area, "constant")
    if area.side == size:
        return pixels, hole
    scaled = PillowImage.fromarray(pixels).resize((size, size), PillowImage.Resampling.LANCZOS)
    pooled = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(hole)[None, None].float(), size)
    return np.asarray(scaled), pooled[0, 0].numpy() > 0


def paste_back(source: Image, mask: Mask, area: Window, painted: Image, width: int) -> Painted:
    """Paste the painted square into the source, inside the feathered mask alone; all other pixels are the source's."""
    if painted.shape[0] != area.side:
        side = (area.side, area.side)
        painted = np.asarray(PillowImage.fromarray(painted).resize(side, PillowImage.Resampling.LANCZOS))
    weights = feather(mask, width)
    top, left = max(area.top, 0), max(area.left, 0)
    bottom, right = min(area.top + area.side, mask.shape[0]), min(area.left + area.side, mask.shape[1])
    inner = painted[top - area.top : bottom - area.top, left - area.left : right - area.left]
    result = source.copy()
    here = slice(top, bottom), slice(left, right)
    result[here] = blended(source[here], inner, weights[here])
    return Painted(result, weights > 0)


def _start(low: int, high: int, room: int, side: int) -> int:
    """Start of a span of length `side` around [low, high): inside [0, room) if it fits, else centred on [0, room)."""
    if side > room:
        return (room - side) // 2
    return min(max((low + high - side) // 2, 0), room - side)


def _cut(array: npt.NDArray[Any], area: Window, mode: Literal["edge", "constant"]) -> npt.NDArray[Any]:
    """The window of an HW or HWC array; beyond the frame edges are repeated, or it is 0."""
    height, width = array.shape[:2]
    top, left = max(area.top, 0), max(area.left, 0)
    bottom, right = min(area.top + area.side, height), min(area.left + area.side, width)
    inside = array[top:bottom, left:right]
    missing = [(top - area.top, area.top + area.side - bottom), (left - area.left, area.left + area.side - right)]
    if any(sum(pair) for pair in missing):
        inside = np.pad(inside, [*missing, *[(0, 0)] * (array.ndim - 2)], mode=mode)
    return inside
