"""Inpainting masks for training. A mask's extent is drawn independently of the subject, so that its shape never tells
what stood there: else the generator follows the mask and not the prompt.

Birds and animals are repainted in squares, hair in its own shape, grown. A grown shape would tell the hair's length, so
it is always grown from the union with another head's hair: how far it reaches says no more than "not longer".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from ddb.config import segment_config
from ddb.data.masks import shaped
from ddb.pocket.world import render, sample_scene

SILHOUETTES = 96
HULL = segment_config(shape="hull", expand=1.0)


def training_mask(subject: np.ndarray, family: str, rng: np.random.Generator) -> np.ndarray:
    """A repaint mask (bool HW) for one picture of a family. `subject`: bool HW, empty for an empty place."""
    return _hair_mask(subject, rng) if family == "hair" else _body_mask(subject, rng)


def _body_mask(subject: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    draw = rng.random()
    if draw < 0.1:
        return np.ones_like(subject)
    if draw < 0.25 or not subject.any():
        return _boxes(subject.shape[0], rng)
    if draw < 0.35:
        grown = Image.fromarray(subject).convert("L").filter(ImageFilter.MaxFilter(2 * int(rng.integers(2, 6)) + 1))
        return np.asarray(grown) > 0
    return _square_over(subject, rng)


def _hair_mask(subject: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    draw = rng.random()
    if draw < 0.1:
        return np.ones_like(subject)
    if draw < 0.18:
        return _boxes(subject.shape[0], rng)
    if draw < 0.3:
        return _upper_box(subject.shape[0], rng)
    if draw < 0.42 and subject.any():
        return _square_over(subject, rng)
    other = _silhouettes()[int(rng.integers(SILHOUETTES))]
    shape = subject | np.roll(other, rng.integers(-2, 3, size=2), axis=(0, 1))
    if draw < 0.55:
        shape = shaped(shape, HULL)
    return np.asarray(ndimage.distance_transform_edt(~shape) <= rng.uniform(0.8, 7.0))


@lru_cache(maxsize=1)
def _silhouettes() -> np.ndarray:
    """Causal masks of other heads, each length equally often: bool [SILHOUETTES, 64, 64]."""
    rng = np.random.default_rng(5)
    return np.stack([render(sample_scene(rng, family="hair")).mask for _ in range(SILHOUETTES)])


def _square_over(subject: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square that covers the subject, of random side (38 to 58 of 64 px, or more if the subject needs it)."""
    side = subject.shape[0]
    ys, xs = np.nonzero(subject)
    need = max(np.ptp(ys), np.ptp(xs)) + 1
    length = int(min(side, max(need, rng.integers(round(0.6 * side), round(0.92 * side)))))
    mask = np.zeros_like(subject)
    low_y, high_y = max(0, ys.max() + 1 - length), min(ys.min(), side - length)
    low_x, high_x = max(0, xs.max() + 1 - length), min(xs.min(), side - length)
    y = int(rng.integers(min(low_y, high_y), max(low_y, high_y) + 1))
    x = int(rng.integers(min(low_x, high_x), max(low_x, high_x) + 1))
    mask[y : y + length, x : x + length] = True
    return mask


def _upper_box(side: int, rng: np.random.Generator) -> np.ndarray:
    """A box over the upper part of a portrait, that may cut through long hair; its size does not ask the subject."""
    mask = np.zeros((side, side), bool)
    top, bottom = rng.integers(0, side // 8), rng.integers(round(0.45 * side), side + 1)
    left, right = rng.integers(0, side // 5), rng.integers(side - side // 5, side + 1)
    mask[top:bottom, left:right] = True
    return mask


def _boxes(side: int, rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    for _ in range(int(rng.integers(1, 4))):
        height, width = rng.integers(side // 5, side * 3 // 4, size=2)
        y, x = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
        mask[y : y + height, x : x + width] = True
    return mask
