"""Geometry of masks: from the object that was found to the region that is repainted, and its soft edge.

Masks are bool HW with True = causal part (object mask) or = repaint (region). A region leaves room for either class and
does not trace the old object's outline (method.md section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from ddb.config import SegmentConfig
from ddb.records import OK

Mask = npt.NDArray[np.bool_]
NO_MASK, TOO_SMALL, TOO_LARGE = "no_mask", "too_small", "too_large"


@dataclass(frozen=True)
class Region:
    """The region to repaint (all False where there is none), "ok" or why it is unusable, and that in words."""

    mask: Mask
    status: str
    error: str


@dataclass(frozen=True)
class Box:
    """A box of pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def region(object_mask: Mask, settings: SegmentConfig, phrase: str = "object") -> Region:
    """The region to repaint for an object, or the reason why there is none: no_mask, too_small, too_large."""
    if not object_mask.any():
        return Region(object_mask, NO_MASK, f"no {phrase} found")
    area = float(object_mask.mean())
    if area < settings.min_area:
        return Region(
            object_mask, TOO_SMALL, f"the {phrase} covers {area:.2%} of the image, min_area is {settings.min_area:.2%}"
        )
    mask = shaped(object_mask, settings)
    area = float(mask.mean())
    if area > settings.max_area:
        return Region(
            mask, TOO_LARGE, f"the region covers {area:.0%} of the image, max_area is {settings.max_area:.0%}"
        )
    return Region(mask, OK, "")


def shaped(object_mask: Mask, settings: SegmentConfig) -> Mask:
    """A non-empty object mask in the shape that the settings ask for; always covers the object.

    `expand` widens a square's side by that factor; dilated and hull grow by the same number of pixels on every side;
    tight ignores it.
    """
    if settings.shape == "tight":
        return object_mask.copy()
    box = bounding_box(object_mask)
    longest = max(box.height, box.width)
    if settings.shape == "square":
        side = max(round(longest * settings.expand), round(settings.min_side * min(object_mask.shape)), longest)
        return _square(object_mask.shape, box, side)
    solid = object_mask if settings.shape == "dilated" else _hull(object_mask)
    return _dilated(solid, longest * (settings.expand - 1) / 2)


def bounding_box(mask: Mask) -> Box:
    """The smallest box that holds a non-empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def feather(mask: Mask, width: int) -> npt.NDArray[np.float32]:
    """Weights HW in [0, 1] of what is painted: 0 outside the mask, rising to 1 over `width` pixels inside it.

    The frame's border is no edge. In a mask too thin for the width the weights still reach 1 in its middle.
    """
    if width == 0 or mask.all() or not mask.any():
        return mask.astype(np.float32)
    depth = ndimage.distance_transform_edt(mask)
    reach = min(width + 1.0, float(depth.max()))
    weights: npt.NDArray[np.float32] = np.minimum(depth / reach, 1.0).astype(np.float32)
    return weights


def _square(shape: tuple[int, ...], box: Box, side: int) -> Mask:
    """A square about the box's centre, moved into the frame; cut where the frame is smaller."""
    mask = np.zeros(shape, np.bool_)
    spans = []
    for low, high, room in ((box.top, box.bottom, shape[0]), (box.left, box.right, shape[1])):
        length = min(side, room)
        start = min(max((low + high - length) // 2, 0), room - length)
        spans.append(slice(start, start + length))
    mask[spans[0], spans[1]] = True
    return mask


def _dilated(mask: Mask, radius: float) -> Mask:
    """Every pixel at most `radius` px from the mask."""
    if mask.all():
        return mask.copy()
    grown: Mask = ndimage.distance_transform_edt(~mask) <= radius
    return grown


def _hull(mask: Mask) -> Mask:
    """The convex hull of a non-empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    left, right = (
        list(zip(first.tolist(), rows.tolist(), strict=True)),
        list(zip(last.tolist(), rows.tolist(), strict=True)),
    )
    outline = _chain(left) + _chain(right[::-1])
    canvas = Image.new("L", (mask.shape[1], mask.shape[0]), 0)
    ImageDraw.Draw(canvas).polygon(outline, fill=1, outline=1)
    return np.asarray(canvas).astype(np.bool_) | mask


def _chain(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The convex side of a chain of (x, y) points (Andrew's monotone chain; one sense of rotation)."""
    chain: list[tuple[int, int]] = []
    for x, y in points:
        while len(chain) >= 2:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) < 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain
