"""What an encoder is shown of an image: its surroundings without the object, or the object without its surroundings."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Hole = Literal["box", "mask"]
GREY = 127


def outside(image: Image, mask: Mask, hole: Hole) -> Image:
    """The image with the object filled by the mean colour of what is left. `image` uint8 HWC, `mask` bool HW, True
    where the object is. `hole`: "box" fills the mask's bounding box, whose shape tells less of the class than the
    outline; "mask" the mask itself. An image that is all hole becomes grey; an empty mask leaves it as it is."""
    filled = boxed(mask) if hole == "box" else mask
    if not filled.any():
        return image
    out = image.copy()
    out[filled] = GREY if filled.all() else np.round(image[~filled].mean(axis=0)).astype(np.uint8)
    return out


def inside(image: Image, mask: Mask) -> Image:
    """The object on grey, cut out as a square around its box; grey too where the square reaches beyond the image.
    ValueError if the mask is empty."""
    if not mask.any():
        raise ValueError("the mask is empty")
    rows, columns = _spans(mask)
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    out = np.full((side, side, 3), GREY, np.uint8)
    top, left = (side - (rows.stop - rows.start)) // 2, (side - (columns.stop - columns.start)) // 2
    cut, own = image[rows, columns], mask[rows, columns]
    place = out[top : top + cut.shape[0], left : left + cut.shape[1]]
    place[own] = cut[own]
    return out


def boxed(mask: Mask) -> Mask:
    """The bounding box of a mask as a mask."""
    out = np.zeros_like(mask)
    if mask.any():
        out[_spans(mask)] = True
    return out


def _spans(mask: Mask) -> tuple[slice, slice]:
    """The rows and the columns from the first True to the last."""
    found = np.nonzero(mask)
    top, left = (int(indices.min()) for indices in found)
    bottom, right = (int(indices.max()) for indices in found)
    return slice(top, bottom + 1), slice(left, right + 1)
