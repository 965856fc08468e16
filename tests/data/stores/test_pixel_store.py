"""The pixel store: every picture decoded once, whatever is asked for, and made again where it is damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.config import DataConfig
from ddb.data.images import png_bytes, read_image
from ddb.data.preprocessing import Preprocessing
from ddb.data.sources.load import load_dataset
from ddb.data.stores import hashed_file
from ddb.data.stores import pixel_store as store_module
from ddb.data.stores.pixel_file import DecodedAtUse
from ddb.data.stores.pixel_store import pixel_store
from ddb.errors import DataError


def at(size: int) -> Preprocessing:
    return Preprocessing(size, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_square_keeps_images_of_the_right_size_and_cuts_the_middle() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(at(32).square(pixels), pixels)
    wide = np.concatenate([np.zeros_like(pixels), pixels, np.zeros_like(pixels)], axis=1)
    assert np.array_equal(at(32).square(wide), pixels)
    tall = np.full((90, 30, 3), 200, np.uint8)
    assert at(64).square(tall).shape == (64, 64, 3)
    chequered = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (64, 64))[..., None].repeat(3, axis=2)
    assert np.abs(at(16).square(chequered).astype(int) - 127).max() <= 2, "not antialiased"


def test_pixel_store_decodes_each_image_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(DataConfig(root=str(folder)))
    ids = dataset.samples["id"].to_pylist()
    opened: list[str] = []
    real = store_module.read_image
    monkeypatch.setattr(store_module, "read_image", lambda root, name: opened.append(name) or real(root, name))
    store = pixel_store(dataset, ids, at(8), tmp_path / "cache")
    assert store.shape == (20, 8, 8, 3) and store.dtype == np.uint8 and not store.flags.writeable
    for row in (0, 7, 19):
        assert np.array_equal(store[row], at(8).square(read_image(folder, ids[row])))
    opened.clear()
    some = [ids[5], ids[2], ids[2]]
    assert np.array_equal(pixel_store(dataset, some, at(8), tmp_path / "cache"), store[[5, 2, 2]])
    assert np.array_equal(pixel_store(dataset.without_attributes(), ids[3:9], at(8), tmp_path / "cache"), store[3:9])
    assert isinstance(pixel_store(dataset, ids[3:9], at(8), tmp_path / "cache"), np.memmap)
    assert pixel_store(dataset, [], at(8), tmp_path / "cache").shape == (0, 8, 8, 3)
    assert not opened


def test_pixel_store_is_made_anew_for_other_content(folder: Path, tmp_path: Path) -> None:
    dataset = load_dataset(DataConfig(root=str(folder)))
    name = dataset.samples["id"][0].as_py()
    before = pixel_store(dataset, [name], at(8), tmp_path / "cache").copy()
    (folder / name).write_bytes(png_bytes(np.full((9, 9, 3), 7, np.uint8)))
    after = pixel_store(load_dataset(DataConfig(root=str(folder))), [name], at(8), tmp_path / "cache")
    assert not np.array_equal(before, after)


def test_pixel_store_says_which_file_broke_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    dataset = load_dataset(DataConfig(root=str(folder)))
    (folder / "cat" / "3.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"3\.png: the file is empty"):
        pixel_store(dataset, ["cat/1.png"], at(8), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_pixel_store_on_a_full_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hashed_file.os, "fsync", full)
    with pytest.raises(DataError, match="cannot store .* GB of pixels there: No space left"):
        pixel_store(load_dataset(DataConfig(root=str(folder))), ["cat/1.png"], at(8), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_store_is_made_again(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = load_dataset(DataConfig(root=str(folder)))
    ids = dataset.samples["id"].to_pylist()
    before = pixel_store(dataset, ids, at(8), tmp_path).copy()
    (path,) = tmp_path.glob("pixels-*.npy")
    data = bytearray(path.read_bytes())
    data[500] ^= 255
    path.write_bytes(data)
    with caplog.at_level("INFO", "ddb"):
        assert np.array_equal(pixel_store(dataset, ids, at(8), tmp_path), before)
    assert "is damaged or of an older version of ddb: decoding the images again" in caplog.text


def test_without_a_store_nothing_is_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(DataConfig(root=str(folder), decode_once=False)).without_attributes()
    ids = dataset.samples["id"].to_pylist()
    at_once = pixel_store(dataset, ids, at(8), tmp_path / "cache")
    assert isinstance(at_once, np.ndarray) and np.array_equal(at_once[7], at(8).square(read_image(folder, ids[7])))
    monkeypatch.setattr(store_module, "FEW", 4)
    later = pixel_store(dataset, ids[3:], at(8), tmp_path / "cache")
    assert isinstance(later, DecodedAtUse) and np.array_equal(later[[2, 5]], at_once[[5, 8]])
    assert not (tmp_path / "cache").exists()


def test_real_photographs_become_pixels(shared_data: Path, tmp_path: Path) -> None:
    config = DataConfig(root=str(shared_data / "photos"), classes=("gas_pump", "golf_ball"))
    dataset = load_dataset(config, tmp_path)
    assert not dataset.quarantined
    store = pixel_store(dataset, dataset.samples["id"].to_pylist(), at(64), tmp_path)
    assert len(store) == 160 and store.std(axis=(1, 2, 3)).min() > 5
    with Image.open(shared_data / "photos" / dataset.samples["image"][0].as_py()) as image:
        shorter = min(image.size)
        expected = image.convert("RGB").resize([64 * s // shorter for s in image.size], Image.Resampling.BICUBIC)
    left, top = round((expected.width - 64) / 2), round((expected.height - 64) / 2)
    assert np.array_equal(store[0], np.asarray(expected.crop((left, top, left + 64, top + 64))))
