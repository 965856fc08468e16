"""Preprocessing of pictures to a classifier's input, used by the pixel store, masks, prediction, training and the saved
classifier.

The rule is that of torchvision's `Resize` and `CenterCrop`, as timm's evaluation uses them: the shorter side is resized
to floor(size / crop) with antialiasing, and the central square of `size` pixels is taken. With `crop_mode` "squash"
both sides are resized to that length, so that the whole picture is seen and its aspect ratio is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from ddb.errors import ModelError

if TYPE_CHECKING:
    from ddb.data.images import Mask, Pixels

Scalar = TypeVar("Scalar", bound=np.generic)
Colour = tuple[float, float, float]

LONGEST = 8
"""A picture that is longer than this many times its shorter side is first cut to its central part of that length: the
resized picture would take `LONGEST` times the memory of the input otherwise, and more."""

_FILTERS = {
    "nearest": (Image.Resampling.NEAREST, 0.0),
    "box": (Image.Resampling.BOX, 0.5),
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
    "hamming": (Image.Resampling.HAMMING, 1.0),
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "lanczos": (Image.Resampling.LANCZOS, 3.0),
}
"""Name in timm's configurations -> Pillow's filter and the radius of its kernel in pixels of the coarser grid."""


@dataclass(frozen=True)
class Preprocessing:
    """`size`: side of the square input, pixels; `crop`: share (0, 1] of the resized picture's shorter side that the
    input shows; `interpolation`: nearest, box, bilinear, hamming, bicubic or lanczos; `mean` and `std`: for each of
    red, green and blue, subtracted from and divided into pixels in [0, 1]; `crop_mode`: timm's name of what becomes of
    the aspect ratio, "center" (kept, the picture is cut) or "squash" (lost). ModelError for values outside these."""

    size: int
    crop: float
    interpolation: str
    mean: Colour
    std: Colour
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            known = ", ".join(_FILTERS)
            raise ModelError(f"preprocessing: interpolation {self.interpolation!r} is not known; use one of {known}.")
        if self.size < 1 or not 0 < self.crop <= 1:
            raise ModelError(
                f"preprocessing: size {self.size} and crop {self.crop:g}; size is 1 pixel or more, crop a share above "
                "0 and up to 1."
            )
        if self.crop_mode not in ("center", "squash"):
            raise ModelError(f"preprocessing: crop_mode {self.crop_mode!r} is not known; it is center or squash.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ModelError(
                f"preprocessing: mean {list(self.mean)} and std {list(self.std)}; three numbers each, std above 0."
            )

    @property
    def key(self) -> str:
        """The part of file names that identifies squares: equal keys mean equal squares of a picture."""
        squash = "-squash" if self.crop_mode == "squash" else ""
        return f"{self.size}-{self.crop:g}-{self.interpolation}{squash}"

    def square(self, image: Pixels) -> Pixels:
        """The input's pixels: uint8 [H, W, 3] of any size -> uint8 [size, size, 3]; `image` itself (a view) where it
        is that square already."""
        image = self._seen(image)
        height, width = resized = self._resized(image.shape[0], image.shape[1])
        if resized != image.shape[:2]:
            small = Image.fromarray(image).resize((width, height), _FILTERS[self.interpolation][0])
            image = np.asarray(small)
        top, left = self._corner(height), self._corner(width)
        return image[top : top + self.size, left : left + self.size]

    def mask(self, mask: Mask) -> Mask:
        """A mask of a picture, bool [H, W], on the input's grid: bool [size, size], True for every pixel of `square`
        whose value a masked pixel can influence, as far as the kernel reaches."""
        mask = self._seen(mask)
        for axis, new in enumerate(self._resized(mask.shape[0], mask.shape[1])):
            first, last = self._reach(mask.shape[axis], new)
            counts = np.cumsum(mask, axis=axis, dtype=np.int32)
            counts = np.insert(counts, 0, 0, axis=axis)  # counts[i]: masked pixels before i
            mask = np.take(counts, last, axis=axis) > np.take(counts, first, axis=axis)
        return mask

    def _seen(self, picture: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """The part of a picture [H, W, ...] that is resized: a view."""
        return picture if self.crop_mode == "squash" else central(picture)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the picture whose central square is the input."""
        short = math.floor(self.size / self.crop)
        if self.crop_mode == "squash":
            return short, short
        if height < width:
            return short, int(short * width / height)
        return int(short * height / width), short

    def _corner(self, length: int) -> int:
        return round((length - self.size) / 2)

    def _reach(self, old: int, new: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each of the `size` central pixels of a side that was resized from `old` to `new` pixels: the first
        pixel of the old side that Pillow's kernel reads, and the one after the last."""
        places = self._corner(new) + np.arange(self.size)
        if old == new:
            return places, places + 1
        scale = old / new
        centres = (places + 0.5) * scale
        if self.interpolation == "nearest":
            first = np.floor(centres).astype(np.int64)
            return np.clip(first - 1, 0, old - 1), np.clip(first + 2, 1, old)  # a pixel more for rounding
        radius = _FILTERS[self.interpolation][1] * max(scale, 1.0)
        first = np.clip(centres - radius + 0.5, 0, old).astype(np.int64)
        last = np.clip(centres + radius + 0.5, 0, old).astype(np.int64)
        return first, last


def central(picture: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """The central part of a picture [H, W, ...], at most `LONGEST` times as long as its shorter side: a view."""
    height, width = picture.shape[:2]
    long = LONGEST * min(height, width)
    top, left = max(0, (height - long) // 2), max(0, (width - long) // 2)
    return picture[top : top + long, left : left + long]
