"""Masks of the shapes of COCO annotations: polygons and run lengths, identical to those of pycocotools.

Run lengths count pixels column by column, top to bottom, in turns outside and inside, beginning outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ddb.backends import Mask

FINE = 5.0
"""Steps per pixel along the outline of a polygon."""


def shape_mask(segmentation: Any, size: tuple[int, int]) -> Mask:
    """The mask of one annotation's `segmentation`, bool [height, width] = `size`. ValueError names the fault."""
    if isinstance(segmentation, dict):
        return _runs_mask(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no segmentation")
    mask = np.zeros(size, np.bool_)
    for polygon in segmentation:
        mask |= _polygon_mask(polygon, size)
    return mask


def _runs_mask(held: dict[str, Any], size: tuple[int, int]) -> Mask:
    if list(held.get("size", ())) != list(size):
        raise ValueError(f"its run lengths are for {held.get('size')}, not for {list(size)} (height, width)")
    counts = held.get("counts")
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its run lengths are not whole numbers")
    height, width = size
    if sum(runs) != height * width:
        raise ValueError(f"its run lengths cover {sum(runs)} pixels of {height * width}")
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return values.reshape(width, height).T.copy()


def _unpacked(text: str) -> list[int]:
    """Run lengths from their packed form: five bits a character, least first, and a sign; from the third number on the
    difference to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"its packed run lengths hold the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs


def _polygon_mask(polygon: Any, size: tuple[int, int]) -> Mask:
    """A polygon x0, y0, x1, y1, ... in pixels; fewer than three points have no area."""
    if not isinstance(polygon, list) or len(polygon) % 2:
        raise ValueError("a polygon is not a list of x and y in turns")
    points = np.array(polygon, np.float64).reshape(-1, 2)
    height, width = size
    if not np.isfinite(points).all() or (np.abs(points) > 2 * max(size) + 100).any():
        raise ValueError("a polygon has points far outside the image")
    if len(points) < 3:
        return np.zeros(size, np.bool_)
    fine = (FINE * points + 0.5).astype(np.int64)  # towards zero, as in C
    x, y = _outline(fine)
    # where the outline goes on to the next column, the inside begins or ends
    steps = np.flatnonzero(x[1:] != x[:-1])
    column = (np.minimum(x[steps], x[steps + 1]) + 0.5) / FINE - 0.5
    row = (np.minimum(y[steps], y[steps + 1]) + 0.5) / FINE - 0.5
    counts = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    changes = column[counts].astype(np.int64) * height + np.ceil(np.clip(row[counts], 0, height)).astype(np.int64)
    turns = np.bincount(changes, minlength=height * width + 1)[: height * width]
    mask: Mask = (np.cumsum(turns) % 2 == 1).reshape(width, height).T.copy()
    return mask


def _outline(points: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every point of the closed outline through `points`, in order."""
    xs, ys = [], []
    for (x0, y0), (x1, y1) in zip(points.tolist(), _rolled(points.tolist()), strict=True):
        wide, tall = abs(x1 - x0), abs(y1 - y0)
        turned = (wide >= tall and x0 > x1) or (wide < tall and y0 > y1)
        (ax, ay), (bx, by) = ((x1, y1), (x0, y0)) if turned else ((x0, y0), (x1, y1))
        along = np.arange(max(wide, tall) + 1)
        along = along[::-1] if turned else along
        if wide >= tall:
            slope = (by - ay) / wide if wide else 0.0
            xs.append(along + ax)
            ys.append((ay + slope * along + 0.5).astype(np.int64))
        else:
            slope = (bx - ax) / tall
            ys.append(along + ay)
            xs.append((ax + slope * along + 0.5).astype(np.int64))
    return np.concatenate(xs), np.concatenate(ys)


def _rolled(points: Sequence[Any]) -> list[Any]:
    return [*points[1:], points[0]]
