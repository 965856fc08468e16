"""Words for sets of images: what tells them from the others, by an encoder of images and texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
TEMPLATE = "a photo of {}"
SHOWN = 5
"""Words that a set is described with; the first is its name."""


def contrast(vectors: Vectors, inside: Flags, cells: npt.NDArray[np.int64]) -> Vectors:
    """The mean vector of the images `inside` [N] minus that of the others, within each cell of `cells` [N] that has
    both, cells weighted by n m / (n + m). So what tells the cells apart (their class) has no part in it. Without such a
    cell: over all images."""
    found, weights = [], []
    for cell in np.unique(cells):
        own, others = inside & (cells == cell), ~inside & (cells == cell)
        n, m = int(own.sum()), int(others.sum())
        if n and m:
            found.append(vectors[own].mean(axis=0) - vectors[others].mean(axis=0))
            weights.append(n * m / (n + m))
    if not found:
        return np.asarray(vectors[inside].mean(axis=0) - vectors[~inside].mean(axis=0), np.float32)
    return np.asarray(np.average(found, axis=0, weights=weights), np.float32)


def best_words(direction: Vectors, words: Sequence[str], texts: Vectors) -> list[tuple[str, float]]:
    """The words whose vectors `texts` [W, D] point most along `direction` [D], best first, each with its cosine."""
    cosines = texts @ direction / max(float(np.linalg.norm(direction)), 1e-12)
    order = np.argsort(-cosines, kind="stable")[:SHOWN]
    return [(words[index], round(float(cosines[index]), 4)) for index in order.tolist()]


def allowed(words: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The words that do not repeat a name in `taken` (classes, the superclass noun): no part of them is a part of such
    a name, holds one or is held in one (three letters or more: "bird" in "waterbird"), plural or not."""
    parts = {part for name in taken for part in _parts(name)}
    return [word for word in words if not any(_alike(own, part) for own in _parts(word) for part in parts)]


def _parts(text: str) -> list[str]:
    letters = "".join(sign if sign.isalnum() else " " for sign in text.lower())
    return [part.removesuffix("s") if len(part) > 3 else part for part in letters.split()]


def _alike(a: str, b: str) -> bool:
    return a == b or (len(a) > 2 and a in b) or (len(b) > 2 and b in a)
