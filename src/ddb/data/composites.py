"""Composites of two images: object and surroundings exchanged, or the object erased. Closed form: no model.

Images are uint8 [H, W, 3], masks bool [H, W] with True = object. Every pixel outside the region that a function names
is a byte of the image that it comes from. A removed object leaves its bounding box as the hole: the silhouette would
tell its class.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from ddb.data.images import Mask, Pixels
from ddb.data.masks import Box, bounding_box

Floats = npt.NDArray[np.float32]
LEAST_FIT = 0.5
"""Objects keep their size relative to their image, but fill at least this share of the region's box, at most all."""
SHARPNESS = 3
"""Power of the inverse distance in `fill_box`: near a side of the hole almost only the strip beside it counts."""


def hole_of(mask: Mask) -> Mask:
    """The box that an object leaves: the smallest one that holds the non-empty mask."""
    box, hole = bounding_box(mask), np.zeros_like(mask)
    hole[box.top : box.bottom, box.left : box.right] = True
    return hole


def has_surroundings(mask: Mask) -> bool:
    """Whether anything is left of the image outside the object's box."""
    box = bounding_box(mask)
    return (box.height, box.width) != mask.shape


def erase_object(image: Pixels, mask: Mask) -> Pixels:
    """The image without its object: its box is filled from the surroundings. ValueError: the mask is empty, or its box
    is the whole image."""
    if not mask.any() or not has_surroundings(mask):
        raise ValueError("there is no object, or nothing outside its box")
    return fill_box(image, bounding_box(mask))


def exchange_surroundings(image: Pixels, mask: Mask, other: Pixels, other_mask: Mask) -> Pixels:
    """The object of `image` at its place in the surroundings of `other`, whose own object is erased. Inside `mask` the
    bytes of `image`, outside of both boxes those of `other`. ValueError as `erase_object`, for `other`."""
    made: Pixels = np.where(mask[..., None], image, erase_object(other, other_mask))
    return made


def exchange_object(image: Pixels, mask: Mask, other: Pixels, other_mask: Mask) -> Pixels:
    """The surroundings of `image` with the object of `other` in the place of its own, scaled to fit into the box.
    Outside the box the bytes of `image`. ValueError as `erase_object`, for `image`."""
    return put_object(erase_object(image, mask), bounding_box(mask), other, other_mask)


def put_object(canvas: Pixels, box: Box, image: Pixels, mask: Mask) -> Pixels:
    """The object of `image` in the middle of a box of `canvas`: a copy, changed inside the box alone."""
    natural = min(canvas.shape[:2]) / min(mask.shape)
    placed = place(canvas.astype(np.float32), box, *cut_out(image, mask), natural)
    made: Pixels = np.clip(np.rint(placed), 0, 255).astype(np.uint8)
    return made


def fill_box(image: Pixels, box: Box) -> Pixels:
    """The image with a box filled from outside: each pixel is the mean of its mirror images at the four sides of the
    box, weighted by a power of the inverse distance to the side. Continuous at all sides, with the texture of the strip
    beside each; a side at the image's border has no strip. The box is smaller than the image."""
    height, width = image.shape[:2]
    rows, columns = np.arange(box.top, box.bottom), np.arange(box.left, box.right)
    pixels = image.astype(np.float32)
    across, down = pixels[box.top : box.bottom], pixels[:, box.left : box.right]
    total, weight = np.zeros((box.height, box.width, 3), np.float32), np.zeros((box.height, box.width, 1), np.float32)
    sides = (
        (box.left, columns - box.left, lambda depth: across[:, box.left - 1 - depth], True),
        (width - box.right, box.right - 1 - columns, lambda depth: across[:, box.right + depth], True),
        (box.top, rows - box.top, lambda depth: down[box.top - 1 - depth], False),
        (height - box.bottom, box.bottom - 1 - rows, lambda depth: down[box.bottom + depth], False),
    )
    for room, depth, mirrored, horizontal in sides:
        if room == 0:
            continue
        near = (depth + 1.0) ** -SHARPNESS
        share = (near[None, :, None] if horizontal else near[:, None, None]).astype(np.float32)
        total += share * mirrored(_folded(depth, room))
        weight = weight + share
    filled = image.copy()
    filled[box.top : box.bottom, box.left : box.right] = np.rint(total / weight).astype(np.uint8)
    return filled


def cut_out(image: Pixels, mask: Mask) -> tuple[Pixels, Mask]:
    """The object's bounding box; pixels outside the object are filled with its edge, so that scaling mixes no
    background in."""
    from scipy import ndimage

    box = bounding_box(mask)
    inside = (slice(box.top, box.bottom), slice(box.left, box.right))
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return image[nearest[0], nearest[1]][inside], mask[inside]


def place(canvas: Floats, box: Box, pixels: Pixels, cover: Mask, natural: float) -> Floats:
    """Put an object that was cut out (`pixels`, with its mask `cover`) into the middle of a box of `canvas`, which is
    changed and returned, scaled by `natural` within what fits there."""
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


def _folded(depth: npt.NDArray[np.int64], room: int) -> npt.NDArray[np.int64]:
    """Distances that run to and fro within a strip of `room` pixels: 0, 1, ..., room - 1, room - 1, ..., 0, 0, ..."""
    turn = depth % (2 * room)
    folded: npt.NDArray[np.int64] = np.minimum(turn, 2 * room - 1 - turn)
    return folded
