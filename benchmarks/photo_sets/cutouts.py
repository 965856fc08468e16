"""Objects cut out of photographs with GrabCut (Rother et al. 2004; OpenCV)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb.data.images import read_image

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SIDE = 224
"""Longer side of a photograph while it is cut, pixels."""
MARGIN = 0.06
"""Width of the border that GrabCut takes for surroundings, share of each side."""
ROUNDS = 3
AREA = (0.05, 0.75)
"""Shares of the photograph that an object has at least and at most; other cut-outs are failures of GrabCut."""


@dataclass(frozen=True)
class Cutout:
    """An object: `image` uint8 [h, w, 3] and `mask` bool [h, w], cropped to the mask's box; `name` of its file."""

    name: str
    image: Pixels
    mask: Mask


def cutouts(folder: Path, cache: Path) -> list[Cutout]:
    """The objects of all photographs of a folder, in the order of their names; failures of GrabCut are left out.
    `cache`: a folder that stores them as PNG files with transparency, since GrabCut takes a second a photograph."""
    found = [_stored(path, cache) for path in sorted(folder.iterdir()) if path.is_file()]
    return [one for one in found if one is not None]


def _stored(path: Path, cache: Path) -> Cutout | None:
    """A photograph's object from the cache, cut out first where it is not there. A failure is stored as one clear
    pixel."""
    file = cache / f"{path.stem}.png"
    if not file.exists():
        one = cutout(path) or Cutout(path.stem, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), bool))
        cache.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".tmp")
        pixels = np.dstack([one.image, one.mask.astype(np.uint8) * 255])
        Image.fromarray(pixels, "RGBA").save(draft, format="PNG")
        draft.replace(file)
    pixels = np.asarray(Image.open(file))
    mask = pixels[..., 3] > 0
    return Cutout(path.stem, pixels[..., :3], mask) if mask.any() else None


def cutout(path: Path) -> Cutout | None:
    """The object in the middle of a photograph; None where its area is outside `AREA`."""
    image = shrunk(read_image(path.parent, path.name), SIDE)
    mask = largest_part(foreground(image))
    if not AREA[0] <= mask.mean() <= AREA[1]:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Cutout(path.stem, image[box], mask[box])


def shrunk(image: Pixels, side: int) -> Pixels:
    """The picture with its longer side at `side` pixels."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def foreground(image: Pixels) -> Mask:
    """GrabCut's answer, started from a box that leaves out the border. The same picture gives the same mask."""
    cv2.setRNGSeed(0)
    height, width = image.shape[:2]
    left, top = max(1, round(width * MARGIN)), max(1, round(height * MARGIN))
    marks = np.zeros((height, width), np.uint8)
    box = (left, top, width - 2 * left, height - 2 * top)
    models = np.zeros((2, 1, 65))
    cv2.grabCut(image[..., ::-1].copy(), marks, box, models[0], models[1], ROUNDS, cv2.GC_INIT_WITH_RECT)
    return np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask, opened by 3 x 3 pixels, its holes filled."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, parts, facts, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return np.zeros_like(mask)
    part = (parts == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(part, outlines, -1, 1, cv2.FILLED).astype(bool)


def sheet(found: Sequence[Cutout], tile: int = 96, columns: int = 10) -> Pixels:
    """The cut-outs on grey, for a look at their quality: uint8 [H, W, 3]."""
    rows = -(-len(found) // columns)
    page = np.full((rows * tile, columns * tile, 3), 128, np.uint8)
    for number, one in enumerate(found):
        small, mask = fitted(one, tile)
        top, left = divmod(number, columns)
        place = page[top * tile : top * tile + small.shape[0], left * tile : left * tile + small.shape[1]]
        place[mask > 0.5] = small[mask > 0.5]
    return page


def fitted(one: Cutout, side: int) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """The object with its longer side at `side` pixels, and its opacity in [0, 1]."""
    scale = side / max(one.mask.shape)
    size = (max(1, round(one.mask.shape[1] * scale)), max(1, round(one.mask.shape[0] * scale)))
    image = np.asarray(Image.fromarray(one.image).resize(size, Image.Resampling.LANCZOS))
    mask = Image.fromarray(one.mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return image, np.asarray(mask, np.float32) / 255
