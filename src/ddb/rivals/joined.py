"""Images from several places as one array, copied when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from ddb.learn.classifier import Pixels


class Joined:
    """Stands for the concatenation of `parts`, uint8 [N_i, S, S, 3] each (arrays, memory maps, or what decodes at use).
    It has what training uses: `len`, `shape` and arrays of rows."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape: tuple[int, ...] = (int(self.starts[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Pixels:
        taken = np.empty((len(rows), *self.shape[1:]), np.uint8)
        homes = np.searchsorted(self.starts, rows, side="right") - 1
        for home in np.unique(homes):
            inside = homes == home
            taken[inside] = self.parts[home][rows[inside] - self.starts[home]]
        return taken


def joined(*parts: Pixels) -> Pixels:
    """`parts` one after another, typed as the array that it stands for."""
    return cast(Pixels, Joined(parts))
