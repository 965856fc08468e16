"""The file of decoded pixels: one .npy array uint8 [N, side, side, 3] and, behind it, the SHA-256 of its pixels.

It is written under a temporary name and renamed, so that an interrupted process leaves no incomplete file. It is opened
memory mapped, so it may be larger than memory. Each process checks a file's hash when it first opens it (about 1 GB/s
per core), so that a truncated or changed file is made again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddb.data.stores.hashed_file import HASH, digest, in_order, replacing

Pixels = npt.NDArray[np.uint8]
BATCH = 1 << 21
"""Bytes of pixels that one worker draws at a time."""


def write_pixels(path: Path, count: int, side: int, draw: Callable[[int], Pixels], workers: int | None = None) -> None:
    """Write `draw(row)`, uint8 [side, side, 3], for every row, `workers` at a time (default: one a core).

    The workers are threads: decoding and resizing release the interpreter's lock, and a process pool would have to
    transfer every image. Few images are in memory, however slow the disk is. Exceptions of `draw`, and OSError, leave
    no file behind. Of several processes that need the same file one writes it and the others wait.
    """
    workers = workers or os.cpu_count() or 1
    rows_at_once = max(1, BATCH // (side * side * 3))
    batches = [range(start, min(count, start + rows_at_once)) for start in range(0, count, rows_at_once)]
    with replacing(path, lambda: open_pixels(path, count, side) is not None) as file:
        if file is None:
            return
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        with ThreadPoolExecutor(workers) as pool:
            drawn = in_order(pool, lambda rows: b"".join(draw(row).tobytes() for row in rows), batches, workers)
            for pixels in drawn:
                file.write(pixels)
        file.flush()
        file.write(digest(Path(file.name), start, count * side * side * 3, workers))


def open_pixels(path: Path, count: int, side: int) -> Pixels | None:
    """The array, memory mapped and read-only; None where the file is missing, of another shape, or damaged."""
    try:
        facts = path.stat()
        return np.load(path, mmap_mode="r") if _intact(path, facts.st_size, facts.st_mtime_ns, count, side) else None
    except (OSError, ValueError):
        return None


class DecodedAtUse:
    """Pixels [N, side, side, 3] that are not stored on disk: each indexing decodes its rows, one row per thread. It has
    the operations that training and prediction use: `len`, `shape`, slices and lists of rows."""

    def __init__(self, rows: Sequence[int], side: int, draw: Callable[[int], Pixels]) -> None:
        self.rows, self.draw = np.asarray(rows, dtype=np.int64), draw
        self.shape = (len(rows), side, side, 3)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[np.integer]) -> Pixels:
        rows = self.rows[index]
        if rows.ndim == 0:
            return self.draw(int(rows))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = list(pool.map(self.draw, map(int, rows)))
        return np.stack(decoded) if decoded else np.empty((0, *self.shape[1:]), np.uint8)


@lru_cache(maxsize=64)
def _intact(path: Path, size: int, modified: int, count: int, side: int) -> bool:
    """Whether the file has this shape and a correct hash. Cached by size and modification time."""
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            return False
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start, pixels = file.tell(), count * side * side * 3
        if shape != (count, side, side, 3) or dtype != np.uint8 or size != start + pixels + HASH:
            return False
        file.seek(-HASH, os.SEEK_END)
        return file.read() == digest(path, start, pixels, os.cpu_count() or 1)
