"""The file of counterfactuals at a classifier's input size: a .npy array uint8 [N, S, S, 3] and, behind it, a key.

The key (32 bytes) identifies the inputs of the pixels. The file is written under a temporary name and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddb.errors import DataError

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int, int, int]


def write_input(path: Path, shape: Shape, key: bytes, squares: Iterable[tuple[int, Pixels]]) -> None:
    """Write `squares`, (row, uint8 [S, S, 3]) in any order, one for every row of `shape` = (N, S, S, 3).

    DataError where the disk is full; exceptions of `squares` pass through. Neither leaves a file behind. One process
    writes at a time.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            start, size = file.tell(), shape[1] * shape[2] * shape[3]
            for row, pixels in squares:
                file.seek(start + row * size)
                file.write(pixels.tobytes())
            file.seek(start + shape[0] * size)
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        needed = np.prod(shape) / 1e9
        raise DataError(
            f"{path.parent}: cannot store {needed:.1f} GB of pixels there: {error.strerror or error}. Make room and "
            "run the same command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def open_input(path: Path, shape: Shape, key: bytes) -> Pixels | None:
    """The array, read-only and memory mapped; None where the file is missing, of another shape or of another key."""
    if not shape[0]:
        return np.empty(shape, np.uint8)
    try:
        with path.open("rb") as file:
            file.seek(-len(key), os.SEEK_END)
            if file.read() != key:
                return None
        pixels: Pixels = np.load(path, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None
