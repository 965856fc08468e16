"""Inpainting masks for training. A square's size is drawn independently of the object, so that the mask's shape never
tells what stood there: else the generator follows the mask and not the prompt."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter


def training_mask(subject: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A repaint mask (bool HW) for one picture. `subject`: bool HW, may be empty."""
    draw = rng.random()
    if draw < 0.1:
        return np.ones_like(subject)
    if draw < 0.25 or not subject.any():
        return _boxes(subject.shape[0], rng)
    if draw < 0.35:
        grown = Image.fromarray(subject).convert("L").filter(ImageFilter.MaxFilter(2 * int(rng.integers(2, 6)) + 1))
        return np.asarray(grown) > 0
    return _square_over(subject, rng)


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


def _boxes(side: int, rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    for _ in range(int(rng.integers(1, 4))):
        height, width = rng.integers(side // 5, side * 3 // 4, size=2)
        y, x = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
        mask[y : y + height, x : x + width] = True
    return mask
