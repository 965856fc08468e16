"""Small pictures for the page, and the files that they are kept in.

A thumbnail is stored beside the table of the stage that it shows, `RUN/<n>-<stage>/<fingerprint>/thumbnails`: a report
can be written again when the source images are gone, and `ddb clean` removes thumbnails together with their stage.
"""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ddb.data.images import Mask, Pixels
from ddb.engine import files

THUMB = 160
"""Longest side of a thumbnail, pixels."""
LOSSLESS = 96
"""Pictures up to this side are stored as they are, without loss; larger ones are photographs."""
QUALITIES = (85, 70, 50, 35, 20, 5)
"""WebP qualities that are tried until a picture is small enough."""
MOST_BYTES = 7000
"""Size of a stored thumbnail that is aimed at, so that pictures without structure make no heavy page."""
SUFFIX = ".webp"

HEAT = np.array(
    [
        (0, 0, 4),
        (40, 17, 89),
        (101, 26, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ],
    np.float32,
)
"""Colour stops of attribution maps, dark to bright, even in lightness."""
REGION = np.array((150, 184, 226), np.float32)
"""Tint of changed pixels that do not belong to the object as found."""
OBJECT = (30, 84, 160)
"""Colour of the object as found."""


@dataclass(frozen=True)
class Thumbnails:
    """Stored thumbnails in `folder` (made when the first one is stored)."""

    folder: Path

    def find(self, key: str) -> str:
        """The data URI of a stored thumbnail; empty where there is none."""
        path = self._path(key)
        return as_uri(path.read_bytes()) if path.is_file() else ""

    def store(self, key: str, pixels: Pixels) -> str:
        """Store a picture (uint8 HWC, at most THUMB pixels a side) under `key`; returns its data URI."""
        data = _encoded(pixels)
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_atomic(self._path(key), lambda file: file.write(data))
        return as_uri(data)

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{SUFFIX}"


def shrunk(pixels: Pixels) -> Pixels:
    """A picture (uint8 HWC or HW) at the size of its thumbnail."""
    return pixels if max(pixels.shape[:2]) <= LOSSLESS else at_most(pixels, THUMB)


def at_most(pixels: Pixels, side: int) -> Pixels:
    """A picture (uint8 HWC or HW) with no side longer than `side` pixels; a smaller one as it is."""
    if max(pixels.shape[:2]) <= side:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def shrunk_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask (bool HW) at the size (height, width) of its image's thumbnail: True where half of the area is."""
    if mask.shape == size:
        return mask
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(grey.resize(size[::-1], Image.Resampling.BOX)) > 127


def tinted(image: Pixels, changed: Mask, thing: Mask | None) -> Pixels:
    """The image (uint8 HWC) as a faint grey ground, changed pixels lightly tinted, the object as found solid. Masks are
    bool HW of the same size; None where no object mask is known."""
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    out = np.broadcast_to(0.45 * grey + 0.55 * 255, image.shape).copy()
    out[changed] = 0.45 * out[changed] + 0.55 * REGION
    if thing is not None:
        out[thing] = OBJECT
    return out.astype(np.uint8)


def heated(heat: Pixels) -> Pixels:
    """An attribution map (uint8 HW, absolute values) as colours, scaled to its own maximum: uint8 HWC."""
    level = heat.astype(np.float32) / max(int(heat.max()), 1) * (len(HEAT) - 1)
    below = np.minimum(level.astype(np.int64), len(HEAT) - 2)
    part = (level - below)[..., None]
    colours: Pixels = ((1 - part) * HEAT[below] + part * HEAT[below + 1]).astype(np.uint8)
    return colours


def data_uri(pixels: Pixels) -> str:
    """A picture (uint8 HWC) as a data URI, at the size of its thumbnail."""
    return as_uri(_encoded(shrunk(pixels)))


def compressed(pixels: Pixels, most: int) -> bytes:
    """A picture (uint8 HWC) as WebP of the best of `QUALITIES` that gives at most `most` bytes, else of the lowest."""
    data = b""
    for quality in QUALITIES:
        data = _webp(Image.fromarray(pixels), quality=quality)
        if len(data) <= most:
            break
    return data


def marked(changed: Mask, thing: Mask | None) -> bytes:
    """Masks (bool HW of the same size) to lay over a picture, as WebP without loss: changed pixels lightly tinted, the
    object as found solid, transparent elsewhere."""
    colours = np.zeros((*changed.shape, 4), np.uint8)
    colours[changed] = (*REGION.astype(np.uint8), 140)
    if thing is not None:
        colours[thing] = (*OBJECT, 255)
    return _webp(Image.fromarray(colours), lossless=True)


def as_uri(data: bytes) -> str:
    """A WebP file as a data URI."""
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(pixels: Pixels) -> bytes:
    if max(pixels.shape[:2]) <= LOSSLESS:
        return _webp(Image.fromarray(pixels), lossless=True)
    return compressed(pixels, MOST_BYTES)


def _webp(image: Image.Image, *, quality: int = 80, lossless: bool = False) -> bytes:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, lossless=lossless, method=4)
    return out.getvalue()
