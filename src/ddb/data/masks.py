"""Geometry of masks: from the object that was found to the region that is repainted, and its soft edge.

Masks are bool HW with True = causal part (object mask) or = repaint (region). A region leaves room for either class and
does not trace the old object's outline (method.md section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.config import RegionConfig
from ddb.records import OK

Mask = npt.NDArray[np.bool_]
NO_MASK, TOO_SMALL, TOO_LARGE, TOUCHES_BORDER = "no_mask", "too_small", "too_large", "touches_border"
ROUNDING = 1e-9
"""Tolerance, px: pixels exactly on an edge belong to the hull in spite of rounding errors of the interpolation."""


@dataclass(frozen=True)
class Region:
    """The region to repaint (all False where there is none), its status ("ok" or why it is unusable), and a message."""

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


def region(object_mask: Mask, settings: RegionConfig, phrase: str = "object") -> Region:
    """The region to repaint for an object, or the reason why there is none: no_mask, too_small, touches_border,
    too_large, checked in this order."""
    if not object_mask.any():
        return Region(object_mask, NO_MASK, f"no {phrase} found")
    area = float(object_mask.mean())
    if area < settings.min_area:
        return Region(
            object_mask, TOO_SMALL, f"the {phrase} covers {area:.2%} of the image, min_area is {settings.min_area:.2%}"
        )
    if settings.max_border is not None and (share := border_share(object_mask)) > settings.max_border:
        words = f"{share:.1%} of the {phrase}'s outline lies on the image's border, max_border is"
        return Region(object_mask, TOUCHES_BORDER, f"{words} {settings.max_border:.1%}")
    mask = shaped(object_mask, settings)
    area = float(mask.mean())
    if area > settings.max_area:
        return Region(
            mask, TOO_LARGE, f"the region covers {area:.1%} of the image, max_area is {settings.max_area:.1%}"
        )
    return Region(mask, OK, "")


def shaped(object_mask: Mask, settings: RegionConfig) -> Mask:
    """A non-empty object mask extended to the shape `settings.shape`; it always covers the object.

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


def border_share(mask: Mask) -> float:
    """Share of a non-empty mask's outline, in sides of pixels, that lies on the frame: 0 inside, a third where a square
    is cut in half, 1 where the mask is the whole image."""
    framed = np.pad(mask, 1)
    outline = int((framed[1:] != framed[:-1]).sum() + (framed[:, 1:] != framed[:, :-1]).sum())
    on_frame = int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())
    return on_frame / outline


def feather(mask: Mask, width: int) -> npt.NDArray[np.float32]:
    """Blending weights HW in [0, 1] of painted pixels: 0 outside the mask, rising to 1 over `width` pixels inside it.

    The frame's border is no edge. In a mask too thin for the width the weights still reach 1 in its middle.
    """
    if width == 0 or mask.all() or not mask.any():
        return mask.astype(np.float32)
    depth = _depth(mask)
    reach = min(width + 1.0, float(depth.max()))
    weights: npt.NDArray[np.float32] = np.minimum(depth / reach, 1.0).astype(np.float32)
    return weights


def blended(
    source: npt.NDArray[np.uint8], painted: npt.NDArray[np.generic], weights: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """`painted` over `source`, both HWC 0-255, by weights HW in [0, 1]: where they are 0 the source's bytes stay."""
    old = source.astype(np.float32)
    mixed = np.rint(old + weights[..., None] * (painted.astype(np.float32) - old))
    return np.clip(mixed, 0, 255).astype(np.uint8)


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
    grown: Mask = _depth(~mask) <= radius
    return grown


def _depth(mask: Mask) -> npt.NDArray[np.float64]:
    """The distance of every pixel of the mask to the nearest pixel outside it. scipy is imported where a mask is made:
    describing the stages does without it."""
    from scipy import ndimage

    depth: npt.NDArray[np.float64] = ndimage.distance_transform_edt(mask)
    return depth


def _hull(mask: Mask) -> Mask:
    """The convex hull of a non-empty mask: every pixel whose centre lies in the hull of the set pixels' centres."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    between = np.arange(rows[0], rows[-1] + 1)
    left, right = _side(first, rows, between), -_side(-last, rows, between)
    columns = np.arange(mask.shape[1])
    hull = np.zeros_like(mask)
    hull[between] = (columns >= left[:, None] - ROUNDING) & (columns <= right[:, None] + ROUNDING)
    return hull


def _side(x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Smallest x of the convex hull of the points (x, y) at the heights `at`; y rises."""
    corners = _chain(list(zip(x.tolist(), y.tolist(), strict=True)))
    edge: npt.NDArray[np.float64] = np.interp(at, [y for _, y in corners], [x for x, _ in corners])
    return edge


def _chain(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Corners of the convex hull on the side of small x; points (x, y), y rising (Andrew's monotone chain)."""
    chain: list[tuple[int, int]] = []
    for x, y in points:
        while len(chain) >= 2:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) < 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain
