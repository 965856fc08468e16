"""The file of decoded pixels: one .npy array uint8 [N, side, side, 3] and, behind it, the SHA-256 of its pixels.

Written under a temporary name and renamed, so a build that was interrupted leaves nothing that counts. Opened memory
mapped, so it may be larger than memory. Each process checks a file's hash when it first opens it (about 1 GB/s a core),
so that a file that was cut off or changed is made again instead of trained on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")

CHUNK = 1 << 24
"""Bytes hashed at a time by one worker; the file's hash is the hash of the chunks' hashes."""
HASH = hashlib.sha256().digest_size


def write_pixels(path: Path, count: int, side: int, draw: Callable[[int], Pixels], workers: int | None = None) -> None:
    """Write `draw(row)`, uint8 [side, side, 3], for every row, `workers` at a time (default: one a core).

    Threads: decoding and resizing release the interpreter's lock, and a process pool would have to send every image
    back. Few images wait in memory, however slow the disk is. What `draw` raises, and OSError, leave no file behind.
    Of several processes that want the same file one writes it and the others wait.
    """
    workers = workers or os.cpu_count() or 1
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    rows_at_once = max(1, CHUNK // 8 // (side * side * 3))
    batches = [range(start, min(count, start + rows_at_once)) for start in range(0, count, rows_at_once)]
    with _locked(temporary) as file, ThreadPoolExecutor(workers) as pool:
        if open_pixels(path, count, side) is not None:  # somebody else wrote it meanwhile
            temporary.unlink()
            return
        try:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
            file.truncate(0)
            np.lib.format.write_array_header_1_0(file, header)
            start = file.tell()
            for pixels in _in_order(pool, lambda rows: b"".join(draw(row).tobytes() for row in rows), batches, workers):
                file.write(pixels)
            file.flush()
            file.write(_digest(temporary, start, count * side * side * 3, workers))
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The file at `path`, open for writing and locked until it is closed; a killed process holds no lock."""
    while True:
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:  # else the one who held the lock has renamed or deleted it
                yield file
                return


def open_pixels(path: Path, count: int, side: int) -> Pixels | None:
    """The array, memory mapped and read-only; None where the file is missing, of another shape, or damaged."""
    try:
        facts = path.stat()
        return np.load(path, mmap_mode="r") if _intact(path, facts.st_size, facts.st_mtime_ns, count, side) else None
    except (OSError, ValueError):
        return None


class DecodedAtUse:
    """Stands for pixels [N, side, side, 3] that are on no disk: each indexing decodes the rows that it asks for, one
    row a thread. It has what training and prediction use: `len`, `shape`, slices and lists of rows."""

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
    """Whether the file has this shape and its own hash. Remembered for a file of this size and modification time."""
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            return False
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start, pixels = file.tell(), count * side * side * 3
        if shape != (count, side, side, 3) or dtype != np.uint8 or size != start + pixels + HASH:
            return False
        file.seek(-HASH, os.SEEK_END)
        return file.read() == _digest(path, start, pixels, os.cpu_count() or 1)


def _digest(path: Path, start: int, size: int, workers: int) -> bytes:
    """Hash of `size` bytes from `start` on, its chunks hashed side by side."""

    def one(offset: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start + offset)
            return hashlib.sha256(file.read(min(CHUNK, size - offset))).digest()

    with ThreadPoolExecutor(workers) as pool:
        return hashlib.sha256(b"".join(_in_order(pool, one, range(0, size, CHUNK), workers))).digest()


def _in_order(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`work` of every item, in order; at most twice as many are begun or finished and not yet taken as there are
    workers (`pool.map` begins them all)."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
