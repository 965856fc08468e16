"""Several image arrays as one, without copying: rows are read from their array on access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from ddb.data.stores.picture_file import Pictures
from ddb.learn.classifier import Pixels
from ddb.learn.training.material import Images


class Joined:
    """The concatenation of `parts`, uint8 [N_i, S, S, 3] each (arrays, memory maps, or objects that decode on access),
    with the operations that training uses: `len`, `shape` and indexing by an array of rows."""

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


class JoinedPictures:
    """The pictures from which random crops of joined images are cut: the pictures of each part, or its squares where it
    has none."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self.parts: list[Pictures] = [part.pixels if part.pictures is None else part.pictures for part in parts]
        self.starts = np.cumsum([0, *(len(part.labels) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int) -> Pixels:
        home = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[home][row - int(self.starts[home])]


@dataclass(frozen=True)
class ChosenPictures:
    """The rows `rows` int64 [N] of `pictures`."""

    pictures: Pictures
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Pixels:
        return self.pictures[int(self.rows[row])]


def joined_images(*parts: Images) -> Images:
    """The concatenation of `parts`, without weights; with pictures for crops where any part has pictures."""
    pictures = JoinedPictures(parts) if any(part.pictures is not None for part in parts) else None
    labels = np.concatenate([part.labels for part in parts])
    return Images(joined(*(part.pixels for part in parts)), labels, pictures=pictures)


def chosen_images(images: Images, rows: npt.NDArray[np.int64]) -> Images:
    """The rows `rows` of `images`, without weights."""
    pictures = None if images.pictures is None else ChosenPictures(images.pictures, rows)
    return Images(images.pixels[rows], images.labels[rows], pictures=pictures)


def joined(*parts: Pixels) -> Pixels:
    """The concatenation of `parts`, typed as an array: uint8 [N, S, S, 3]."""
    return cast(Pixels, Joined(parts))
