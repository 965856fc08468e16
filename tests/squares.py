"""A minimal world: the class is the colour of a centre square, the attribute the background."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddb.learn.classifier import Pixels

SIDE = 32
BOX = (slice(8, 24), slice(8, 24))


def picture(label: int, attribute: int, rng: np.random.Generator, step: int = 140) -> np.ndarray:
    """uint8 [SIDE, SIDE, 3]. `step`: how much redder the square of class 1 is than that of class 0."""
    image = rng.integers(0, 40, (SIDE, SIDE, 3), dtype=np.uint8)
    image[..., 1 if attribute else 2] += np.uint8(120)
    image[BOX] = rng.integers(0, 40, (16, 16, 3), dtype=np.uint8)
    image[BOX][..., 0] = np.uint8(60 + step * label)
    return image


def pictures(sizes: Sequence[int], rng: np.random.Generator, step: int = 140) -> tuple[Pixels, np.ndarray]:
    """Images uint8 [N, SIDE, SIDE, 3] and groups int64 [N] (2 label + attribute), `sizes` of each group, shuffled."""
    groups = rng.permutation(np.repeat(np.arange(4), sizes))
    return np.stack([picture(*divmod(int(group), 2), rng, step) for group in groups]), groups
