"""Pictures of various sizes in one flat file: a mark, the pictures' bytes one after another, a table of where each lies
(int64 [N, 3]: offset from the file's start in bytes, height, width), and the SHA-256 of all of that.

It is written and checked as the file of squares (`pixel_file`), and opened memory mapped: a picture is read on access.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ddb.data.stores.hashed_file import HASH, digest, in_order, replacing
from ddb.data.stores.pixel_file import Pixels

MARK = b"ddb pictures 1\n\0"
ENTRY = 3 * 8
"""Bytes of the table for one picture."""


class Pictures(Protocol):
    """N pictures, uint8 [H_i, W_i, 3] each. An array of squares [N, S, S, 3] is one, too."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Pixels:
        """The picture of a row, 0 <= row < N; it may be read-only."""


class PictureFile:
    """The pictures of an open file, read-only views of the memory map."""

    def __init__(self, path: Path, count: int) -> None:
        self.data = np.memmap(path, np.uint8, "r")
        table = self.data[len(self.data) - HASH - ENTRY * count : len(self.data) - HASH]
        self.table: npt.NDArray[np.int64] = np.frombuffer(table.tobytes(), "<i8").reshape(count, 3)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Pixels:
        start, height, width = self.table[row].tolist()
        picture: Pixels = self.data[start : start + height * width * 3].reshape(height, width, 3)
        return picture


class PicturesAtUse:
    """Pictures that are not stored on disk: `draw(row)`, uint8 [H, W, 3], is called on each access."""

    def __init__(self, rows: Sequence[int], draw: Callable[[int], Pixels]) -> None:
        self.rows, self.draw = rows, draw

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Pixels:
        return self.draw(self.rows[row])


def write_pictures(path: Path, count: int, draw: Callable[[int], Pixels], workers: int | None = None) -> None:
    """Write `draw(row)`, uint8 [H, W, 3] of any size, for every row of `count`, with `workers` threads (default: one
    per core); few pictures are in memory. Exceptions of `draw`, and OSError, leave no file behind."""
    workers = workers or os.cpu_count() or 1
    table = np.zeros((count, 3), "<i8")
    with replacing(path, lambda: open_pictures(path, count) is not None) as file:
        if file is None:
            return
        file.write(MARK)
        with ThreadPoolExecutor(workers) as pool:
            for row, picture in enumerate(in_order(pool, draw, range(count), workers)):
                table[row] = file.tell(), *picture.shape[:2]
                file.write(np.ascontiguousarray(picture).data)
        file.write(table.tobytes())
        file.flush()
        file.write(digest(Path(file.name), 0, file.tell(), workers))


def open_pictures(path: Path, count: int) -> PictureFile | None:
    """The pictures of a file that `write_pictures` wrote with this `count`; None where the file is missing, holds
    another number of pictures, or is damaged. Each process checks a file's hash when it first opens it."""
    try:
        facts = path.stat()
        return PictureFile(path, count) if _intact(path, facts.st_size, facts.st_mtime_ns, count) else None
    except OSError:
        return None


@lru_cache(maxsize=64)
def _intact(path: Path, size: int, modified: int, count: int) -> bool:
    """Whether the file's hash is correct and its table has `count` pictures that fill it. Cached by size and
    modification time."""
    whole = size - HASH
    with path.open("rb") as file:
        if whole < len(MARK) + ENTRY * count or file.read(len(MARK)) != MARK:
            return False
        file.seek(whole)
        if file.read() != digest(path, 0, whole, os.cpu_count() or 1):
            return False
        file.seek(whole - ENTRY * count)
        table = np.frombuffer(file.read(ENTRY * count), "<i8").reshape(count, 3)
    ends = len(MARK) + np.cumsum(3 * table[:, 1] * table[:, 2])
    starts = np.concatenate([[len(MARK)], ends])
    return bool((table[:, 0] == starts[:-1]).all() and starts[-1] == whole - ENTRY * count)
