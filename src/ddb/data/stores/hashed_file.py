"""Atomic writing of large files of pixels: one process writes under a temporary name, hashes in chunks, and renames."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 1 << 24
"""Bytes hashed at a time by one worker; the file's hash is the hash of the chunks' hashes."""
HASH = hashlib.sha256().digest_size
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Error numbers of file systems without locks (NFS with nolock, some FUSE)."""


@contextmanager
def replacing(path: Path, exists: Callable[[], bool]) -> Iterator[BinaryIO | None]:
    """An empty file to write; it replaces `path` when the block ends, and is deleted where the block raises.

    Of several processes that need the same file one writes it and the others wait for the lock; they then get None if
    `exists()` is true. Where the file system has no locks, each process writes the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f"{path.name}.tmp")) as file:
        temporary = Path(file.name)
        if exists():
            temporary.unlink()
            yield None
            return
        try:
            file.truncate(0)
            yield file
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
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                break
            try:
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:  # else the previous holder of the lock has renamed or deleted it
                yield file
                return
    path.unlink(missing_ok=True)
    with path.with_name(f"{path.name}-{os.getpid()}").open("wb+") as file:
        yield file


def digest(path: Path, start: int, size: int, workers: int) -> bytes:
    """Hash of `size` bytes from offset `start`; chunks are hashed in parallel."""

    def one(offset: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start + offset)
            return hashlib.sha256(file.read(min(CHUNK, size - offset))).digest()

    with ThreadPoolExecutor(workers) as pool:
        return hashlib.sha256(b"".join(in_order(pool, one, range(0, size, CHUNK), workers))).digest()


def in_order(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`work` of every item, in order. At most 2 x `workers` results are pending or waiting to be consumed (`pool.map`
    submits all items at once)."""
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
