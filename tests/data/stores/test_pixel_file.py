"""The file of decoded pixels: right however many workers, damage noticed, nothing left by a build that broke off."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ddb.data.stores import hashed_file, pixel_file
from ddb.data.stores.pixel_file import DecodedAtUse, open_pixels, write_pixels

COUNT, SIDE = 37, 5
ARRAY = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


def draw(row: int) -> np.ndarray:
    time.sleep(0.001 * (row % 3))  # rows are finished in another order than they are begun
    return ARRAY[row]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_file, "BATCH", 4 * SIDE * SIDE * 3)  # four rows in a batch
    monkeypatch.setattr(hashed_file, "CHUNK", 8 * 4 * SIDE * SIDE * 3)  # several chunks to hash


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.usefixtures("small_chunks")
def test_rows_lie_where_they_belong_and_the_bytes_depend_on_nothing_else(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "new" / "p.npy"
    write_pixels(path, COUNT, SIDE, draw, workers)
    store = open_pixels(path, COUNT, SIDE)
    assert isinstance(store, np.memmap) and not store.flags.writeable and np.array_equal(store, ARRAY)
    assert np.array_equal(np.load(path), ARRAY), "numpy alone reads it too"
    write_pixels(tmp_path / "one.npy", COUNT, SIDE, draw, 1)
    assert path.read_bytes() == (tmp_path / "one.npy").read_bytes()
    assert [item.name for item in path.parent.iterdir()] == ["p.npy"]


def test_the_hash_behind_the_pixels_is_that_of_the_chunks_hashes(tmp_path: Path) -> None:
    write_pixels(tmp_path / "p.npy", COUNT, SIDE, draw)
    chunk = hashlib.sha256(ARRAY.tobytes()).digest()  # all of it fits into one
    assert (tmp_path / "p.npy").read_bytes().endswith(hashlib.sha256(chunk).digest())


@pytest.mark.usefixtures("small_chunks")
def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "p.npy"
    write_pixels(path, COUNT, SIDE, draw)
    whole = path.read_bytes()
    for place in (130, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert open_pixels(path, COUNT, SIDE) is None, place
    for damaged in (b"", whole[:-1], whole[:1000], whole + b"x", whole[:-32], b"x" + whole[1:]):
        path.write_bytes(damaged)
        assert open_pixels(path, COUNT, SIDE) is None
    path.write_bytes(whole)
    assert open_pixels(path, COUNT, SIDE + 1) is None and open_pixels(path, COUNT - 1, SIDE) is None
    assert open_pixels(tmp_path / "gone.npy", COUNT, SIDE) is None
    assert np.array_equal(open_pixels(path, COUNT, SIDE), ARRAY)  # type: ignore[arg-type]


def test_a_file_is_hashed_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pixels(tmp_path / "p.npy", COUNT, SIDE, draw)
    assert open_pixels(tmp_path / "p.npy", COUNT, SIDE) is not None
    monkeypatch.setattr(pixel_file, "digest", lambda *_: pytest.fail("hashed again"))
    assert open_pixels(tmp_path / "p.npy", COUNT, SIDE) is not None


@pytest.mark.usefixtures("small_chunks")
def test_few_images_wait_when_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun but unwritten batches are bounded: 2 for each worker and the one that is being written."""
    begun, most = [], 0

    class Slow:
        """A file whose writes take their time."""

        def __init__(self, file: object) -> None:
            self.file, self.written = file, 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, data: bytes) -> None:
            nonlocal most
            time.sleep(0.02)
            most = max(most, len(begun) - self.written * 4)
            self.written += len(data) == 4 * SIDE * SIDE * 3
            self.file.write(data)  # type: ignore[attr-defined]

    real = hashed_file._locked

    @hashed_file.contextmanager
    def slow(path: Path):  # type: ignore[no-untyped-def]
        with real(path) as file:
            yield Slow(file)

    monkeypatch.setattr(hashed_file, "_locked", slow)
    write_pixels(tmp_path / "p.npy", COUNT, SIDE, lambda row: begun.append(row) or ARRAY[row], 2)
    assert len(begun) == COUNT and most <= 5 * 4
    assert np.array_equal(np.load(tmp_path / "p.npy"), ARRAY)


def test_what_a_row_raises_leaves_no_file(tmp_path: Path) -> None:
    def broken(row: int) -> np.ndarray:
        if row == 20:
            raise ZeroDivisionError
        return ARRAY[row]

    with pytest.raises(ZeroDivisionError):
        write_pixels(tmp_path / "p.npy", COUNT, SIDE, broken)
    assert not list(tmp_path.iterdir())


def test_a_killed_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "p.npy"
    child = os.fork()
    if child == 0:
        write_pixels(path, COUNT, SIDE, lambda row: ARRAY[row] if row < 30 else time.sleep(60), 1)  # type: ignore[func-returns-value]
        os._exit(0)
    while not (tmp_path / "p.npy.tmp").exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert open_pixels(path, COUNT, SIDE) is None and (tmp_path / "p.npy.tmp").exists()
    write_pixels(path, COUNT, SIDE, draw)
    assert np.array_equal(np.load(path), ARRAY) and [item.name for item in tmp_path.iterdir()] == ["p.npy"]


def test_of_two_that_want_the_same_file_one_writes_it(tmp_path: Path) -> None:
    drawn: list[int] = []

    def build() -> None:
        write_pixels(tmp_path / "p.npy", COUNT, SIDE, lambda row: (drawn.append(row), draw(row))[1], 1)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == list(range(COUNT))
    assert np.array_equal(np.load(tmp_path / "p.npy"), ARRAY) and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_serves_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(hashed_file.fcntl, "flock", refuse)
    write_pixels(tmp_path / "p.npy", COUNT, SIDE, draw)
    assert np.array_equal(open_pixels(tmp_path / "p.npy", COUNT, SIDE), ARRAY)  # type: ignore[arg-type]
    write_pixels(tmp_path / "p.npy", COUNT, SIDE, lambda row: pytest.fail("drawn again"))
    assert [item.name for item in tmp_path.iterdir()] == ["p.npy"]


def test_an_empty_store(tmp_path: Path) -> None:
    write_pixels(tmp_path / "p.npy", 0, SIDE, draw)
    assert pixel_file._intact(tmp_path / "p.npy", *_facts(tmp_path / "p.npy"), 0, SIDE)


def _facts(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def test_decoded_at_use_gives_what_an_array_gives() -> None:
    rows = [3, 4, 9, 20]
    pixels, expected = DecodedAtUse(rows, SIDE, draw), ARRAY[rows]
    assert len(pixels) == 4 and pixels.shape == expected.shape
    for index in (2, -1, slice(1, 3), slice(None), [3, 0, 0], np.array([2, 1]), slice(4, 9), []):
        assert np.array_equal(pixels[index], expected[index])  # type: ignore[index]
        assert pixels[index].dtype == np.uint8  # type: ignore[index]
