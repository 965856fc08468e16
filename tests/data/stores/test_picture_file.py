"""The file of pictures of various sizes, and what is kept of a photograph for random crops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.config import DataConfig
from ddb.data.images import read_image
from ddb.data.preprocessing import LONGEST, Preprocessing
from ddb.data.sources.load import load_dataset
from ddb.data.stores import picture_store as store_module
from ddb.data.stores.picture_file import PictureFile, PicturesAtUse, open_pictures, write_pictures
from ddb.data.stores.picture_store import for_crops, kept_pictures, picture_store
from ddb.errors import DataError

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (3 + 5 * (i % 4), 2 + i, 3), dtype=np.uint8) for i in range(23)]
HOW = Preprocessing(8, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def draw(row: int) -> np.ndarray:
    return PICTURES[row]


@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_come_back_whatever_their_sizes(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "new" / "p.bin"
    write_pictures(path, len(PICTURES), draw, workers)
    found = open_pictures(path, len(PICTURES))
    assert isinstance(found, PictureFile) and len(found) == len(PICTURES)
    for row, picture in enumerate(PICTURES):
        assert found[row].dtype == np.uint8 and np.array_equal(found[row], picture)
        assert not found[row].flags.writeable
    write_pictures(tmp_path / "one.bin", len(PICTURES), draw)
    assert path.read_bytes() == (tmp_path / "one.bin").read_bytes()
    assert [item.name for item in path.parent.iterdir()] == ["p.bin"]


def test_damage_is_noticed_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "p.bin"
    write_pictures(path, len(PICTURES), draw)
    whole = path.read_bytes()
    for place in (0, 20, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert open_pictures(path, len(PICTURES)) is None, place
    for damaged in (b"", whole[:-1], whole[:100], whole + b"x"):
        path.write_bytes(damaged)
        assert open_pictures(path, len(PICTURES)) is None
    with caplog.at_level("INFO", "ddb"):
        assert np.array_equal(kept_pictures(path, len(PICTURES), draw)[7], PICTURES[7])
    assert "decoding the images again" in caplog.text and path.read_bytes() == whole
    assert open_pictures(path, len(PICTURES) - 1) is None and open_pictures(tmp_path / "gone", 3) is None


def test_an_empty_file_and_one_that_breaks_off(tmp_path: Path) -> None:
    write_pictures(tmp_path / "none.bin", 0, draw)
    empty = open_pictures(tmp_path / "none.bin", 0)
    assert empty is not None and len(empty) == 0
    with pytest.raises(IndexError):
        write_pictures(tmp_path / "p.bin", len(PICTURES) + 1, draw)
    assert [item.name for item in tmp_path.iterdir()] == ["none.bin"]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(16, 64), st.floats(0.05, 1))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_leaves_the_smallest_crop_its_pixels(height: int, width: int, size: int, smallest: float) -> None:
    """Never enlarged, of the same proportions, and no larger than asked."""
    image = np.zeros((height, width, 3), np.uint8)
    kept = for_crops(image, size, smallest)
    short, long = sorted(kept.shape[:2])
    least = min(short, math.sqrt(smallest * short * long))
    assert kept.shape[0] <= height and kept.shape[1] <= width
    if kept.shape[:2] == (min(height, LONGEST * width), min(width, LONGEST * height)):
        assert least <= size + 2 or min(height, width) <= size + 1
    else:
        assert size - 1e-6 <= least <= size + 2 * LONGEST**0.5
        assert abs(long / short - min(LONGEST, max(height, width) / min(height, width))) <= (1 + long / short) / short


def test_a_square_of_the_inputs_size_is_kept_as_it_is() -> None:
    image = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(for_crops(image, 64, 0.7), image)


def test_a_store_of_a_data_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(DataConfig(root=str(folder)))
    ids = dataset.split("train")["id"].to_pylist()
    found = picture_store(dataset, ids, HOW, 0.7, tmp_path / "cache")
    for row in (0, len(ids) - 1):
        assert np.array_equal(found[row], for_crops(read_image(folder, ids[row]), 8, 0.7))
    monkeypatch.setattr(store_module, "read_image", lambda *_: pytest.fail("decoded again"))
    again = picture_store(dataset.without_attributes(), ids, HOW, 0.7, tmp_path / "cache")
    assert np.array_equal(again[3], found[3]) and len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.undo()
    fewer = picture_store(dataset, ids[1:], HOW, 0.7, tmp_path / "cache")
    assert len(fewer) == len(ids) - 1 and np.array_equal(fewer[0], found[1])


def test_without_a_store_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    dataset = load_dataset(DataConfig(root=str(folder), decode_once=False))
    ids = dataset.split("train")["id"].to_pylist()
    found = picture_store(dataset, ids, HOW, 0.7, tmp_path / "cache")
    assert isinstance(found, PicturesAtUse) and len(found) == len(ids)
    assert np.array_equal(found[2], for_crops(read_image(folder, ids[2]), 8, 0.7))
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddb.data.stores.hashed_file.os.fsync", full)
    with pytest.raises(DataError, match="cannot store 23 pictures there: No space left"):
        kept_pictures(tmp_path / "p.bin", len(PICTURES), draw)
    assert not list(tmp_path.iterdir())
