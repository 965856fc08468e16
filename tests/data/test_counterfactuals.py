"""Patches are exact; counterfactuals are rebuilt from them in any order, in bounded memory, from the right sources."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from ddb.config import DataConfig
from ddb.data import counterfactuals as module
from ddb.data.counterfactuals import Counterfactuals, held_out
from ddb.data.images import Mask, Pixels, png_bytes
from ddb.data.patches import apply_patch, changed_by, patch_of
from ddb.data.sources.load import load_dataset
from ddb.data.stores import input_file
from ddb.data.table import Dataset
from ddb.errors import DataError
from made_counterfactuals import FakeTables, Made, made

Draw = Callable[..., Path]


@dataclass(frozen=True)
class Small:
    """Stands for `Preprocessing`."""

    size: int = 8

    def square(self, image: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR))


@pytest.fixture
def dataset(folder: Path, draw: Draw) -> Dataset:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(folder / "dog" / "turned.jpg", seed=77, exif=exif)
    return load_dataset(DataConfig(source="folder", root=str(folder)))


@pytest.fixture
def some(dataset: Dataset) -> Made:
    return made(dataset)


# Patches


@st.composite
def painted_pairs(draw: st.DrawFn) -> tuple[Pixels, Pixels, Mask]:
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    source = draw(arrays.arrays(np.uint8, (*shape, 3)))
    changed = draw(arrays.arrays(np.bool_, shape) | st.sampled_from([np.zeros(shape, bool), np.ones(shape, bool)]))
    new = draw(arrays.arrays(np.uint8, (*shape, 3)))
    return source, np.where(changed[..., None], new, source), changed


@given(painted_pairs())
@settings(deadline=None)
def test_a_patch_is_exact(pair: tuple[Pixels, Pixels, Mask]) -> None:
    source, painted, changed = pair
    before = source.copy()
    box, png = patch_of(source, painted, changed)
    assert np.array_equal(apply_patch(source, box, png), painted)
    assert np.array_equal(changed_by(source.shape[:2], box, png), changed)
    assert np.array_equal(source, before)


@given(painted_pairs())
@settings(deadline=None)
def test_a_patch_holds_no_more_than_the_changed_pixels(pair: tuple[Pixels, Pixels, Mask]) -> None:
    source, painted, changed = pair
    (left, top, right, bottom), png = patch_of(source, painted, changed)
    if not changed.any():
        assert (left, top, right, bottom) == (0, 0, 0, 0) and png == b""
        return
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (right - left, bottom - top))
        patch = np.asarray(image)
    inside = changed[top:bottom, left:right]
    assert inside.sum() == changed.sum() and inside[0].any() and inside[-1].any()
    assert inside[:, 0].any() and inside[:, -1].any()
    assert np.array_equal(patch[..., 3], np.where(inside, 255, 0)) and not patch[~inside].any()


@pytest.mark.parametrize("shape", ["ellipse", "square", "whole"])
def test_a_patch_is_no_larger_than_a_fifth_more_than_the_painted_region(shape: str) -> None:
    from sklearn.datasets import load_sample_images

    for photograph in load_sample_images().images:
        source = np.asarray(photograph)
        rows, columns = np.mgrid[: source.shape[0], : source.shape[1]]
        changed = {
            "ellipse": ((rows - 200) / 140) ** 2 + ((columns - 300) / 180) ** 2 < 1,
            "square": (abs(rows - 200) < 120) & (abs(columns - 300) < 120),
            "whole": rows >= 0,
        }[shape]
        painted = np.where(changed[..., None], source[:, ::-1], source)
        (left, top, right, bottom), png = patch_of(source, painted, changed)
        assert len(png) <= 1.2 * len(png_bytes(np.ascontiguousarray(painted[top:bottom, left:right])))


def test_what_is_no_patch_is_refused() -> None:
    source, painted = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="outside of the changed region"):
        patch_of(source, painted, np.eye(4, dtype=bool))
    with pytest.raises(ValueError, match="shapes differ"):
        patch_of(source, painted[:3], np.ones((4, 4), bool))


def encoded(mode: str, size: tuple[int, int], kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("box", "png", "reason"),
    [
        ((0, 0, 2, 2), b"", "damaged"),
        ((0, 0, 2, 2), b"GIF89a", "damaged"),
        ((0, 0, 4, 4), encoded("RGBA", (4, 4), "PNG")[:-40], "damaged"),
        ((0, 0, 2, 2), encoded("RGB", (2, 2), "JPEG"), "damaged"),
        ((0, 0, 2, 2), encoded("RGB", (2, 2), "PNG"), "not RGBA"),
        ((0, 0, 2, 2), encoded("RGBA", (3, 2), "PNG"), "not RGBA of the box"),
        ((0, 0, 5, 2), encoded("RGBA", (5, 2), "PNG"), "does not lie in"),
        ((-1, 0, 1, 2), encoded("RGBA", (2, 2), "PNG"), "does not lie in"),
        ((0, 0, 0, 0), encoded("RGBA", (2, 2), "PNG"), "does not lie in"),
    ],
    ids=["empty", "no PNG", "cut off", "JPEG", "no alpha", "size", "right of it", "left of it", "no box"],
)
def test_a_damaged_patch_is_a_reason(box: tuple[int, ...], png: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        apply_patch(np.zeros((4, 4, 3), np.uint8), box, png)


# Counterfactuals


def test_columns(some: Made, dataset: Dataset) -> None:
    found = some.counterfactuals
    train = dataset.split("train")
    assert found.ids == list(some.images) and "failed" not in found.ids
    assert found.source_ids == train["id"].to_pylist() * 2
    assert np.array_equal(found.from_labels, np.tile(train["label"].to_numpy(), 2))
    assert np.array_equal(found.to_labels[: len(train)], 1 - train["label"].to_numpy())
    assert found.kept.tolist() == [n % 3 != 1 for n in range(len(found))]
    assert found.held_out.tolist() == [held_out(name) for name in found.source_ids]
    assert found.rows_of(found.ids[3:1:-1]).tolist() == [3, 2]
    assert not some.tables.asked, "pixels were read where columns were asked for"


def test_a_fifth_of_the_sources_is_held_out() -> None:
    assert [n for n in range(12) if held_out(f"{n}.png")] == [0, 10, 11]  # sha256sum, first byte % 5
    assert 0.19 < sum(held_out(f"images/{n}.jpg") for n in range(10_000)) / 10_000 < 0.21


def test_images_in_any_order(some: Made) -> None:
    found = some.counterfactuals
    rows = np.random.default_rng(1).permutation(len(found)).tolist() + [0, 0]
    for row, rebuilt in zip(rows, found.images(rows), strict=True):
        name = found.ids[row]
        assert rebuilt.row == row
        assert np.array_equal(rebuilt.image, some.images[name]) and np.array_equal(rebuilt.changed, some.changed[name])
        assert np.array_equal(rebuilt.source[~rebuilt.changed], rebuilt.image[~rebuilt.changed])
    assert all(np.array_equal(m, some.changed[found.ids[r]]) for r, m in zip(rows, found.masks(rows), strict=True))
    assert list(found.images([])) == []


def test_sources_of_a_window_are_read_once_and_windows_are_bounded(some: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    found, read = some.counterfactuals, Counter[str]()
    real = module.resolve_inside
    monkeypatch.setattr(module, "resolve_inside", lambda root, name: read.update([name]) or real(root, name))
    list(found.images(range(len(found))))
    assert set(read.values()) == {1} and set(read) == set(found.source_ids)
    monkeypatch.setattr(module, "WINDOW_BYTES", 10 * 12 * 6 * 3)
    some.tables.asked.clear()
    next(found.images(range(len(found))))
    assert len(some.tables.asked) == 3


def test_at_input(some: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, path = some.counterfactuals, tmp_path / "cache" / "kept.npy"
    rows = np.flatnonzero(found.kept)[::-1]
    pixels = found.at_input(Small(), rows, path)
    assert isinstance(pixels, np.memmap) and pixels.dtype == np.uint8 and pixels.shape == (len(rows), 8, 8, 3)
    assert all(np.array_equal(p, Small().square(some.images[found.ids[r]])) for r, p in zip(rows, pixels, strict=True))
    places = found.rows_of(name for _, name in some.tables.asked)
    assert (np.diff(places) > 0).all(), "patches were not read in the order of the table"
    assert found.at_input(Small(), [], path).shape == (0, 8, 8, 3)

    some.tables.asked.clear()
    again = found.at_input(Small(), rows, path)
    assert np.array_equal(again, pixels) and not some.tables.asked, "what is there was made again"
    fewer = found.at_input(Small(), rows[1:], path)
    assert np.array_equal(fewer, pixels[1:])
    assert found.at_input(Small(4), rows, path).shape == (len(rows), 4, 4, 3)
    path.write_bytes(b"cut off")
    assert np.array_equal(found.at_input(Small(), rows, path), pixels)
    assert [item.name for item in path.parent.iterdir()] == ["kept.npy"]


def test_a_full_disk_is_said_and_leaves_nothing(some: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(input_file.os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot store .* No space left on device"):
        some.counterfactuals.at_input(Small(), [0, 1], tmp_path / "kept.npy")
    assert not [path.name for path in tmp_path.iterdir() if "npy" in path.name]


def test_sources_that_are_gone_or_changed_are_named_and_others_go_on(some: Made, draw: Draw) -> None:
    found = some.counterfactuals
    root = found.dataset.root
    gone, changed = found.source_ids[0], found.source_ids[1]
    (root / gone).unlink()
    draw(root / changed, seed=999)
    with pytest.raises(DataError, match=rf"{gone}: No such file.*were painted on it. Put the file back"):
        list(found.images([0]))
    with pytest.raises(DataError, match=rf"{changed} has changed since .* \(SHA-256 was \w+, is \w+\). Put the file"):
        list(found.images([2, 1]))
    outcomes = list(found.outcomes(range(4), lambda rebuilt: found.ids[rebuilt.row]))
    assert [isinstance(item, DataError) for item in outcomes] == [True, True, False, False]
    assert outcomes[2:] == found.ids[2:4]
    assert len(list(found.masks(range(4)))) == 4  # needs no source


def test_a_source_that_the_data_set_lost_is_named(some: Made) -> None:
    rows = some.counterfactuals.columns.set_column(1, "source_id", pa.array(["x.png"] * len(some.images)))
    tables = FakeTables(
        some.tables.tables
        | {"inpaint": rows.append_column("patch", some.tables.tables["inpaint"]["patch"].slice(0, len(rows)))}
    )
    with pytest.raises(DataError, match=r"x\.png: the data set has no such image any more"):
        list(Counterfactuals(tables, some.counterfactuals.dataset).images([0]))


def test_a_damaged_patch_is_named_with_its_folder(some: Made) -> None:
    table = some.tables.tables["inpaint"]
    column = table.schema.get_field_index("patch")
    some.tables.tables["inpaint"] = table.set_column(column, "patch", pa.array([b"x"] * len(table), pa.large_binary()))
    found = some.counterfactuals
    with pytest.raises(DataError, match=r"runs/made/inpaint/f1: counterfactual .*: its patch is damaged"):
        list(found.images([0]))
    with pytest.raises(DataError, match="its patch is damaged"):
        list(found.masks([0]))


def test_a_column_of_more_than_two_gibibytes(some: Made, tmp_path: Path) -> None:
    """Chunks that share one buffer: 40 x 64 MiB of patches beside the real ones."""
    table = some.tables.tables["inpaint"]
    blob = pa.array([b"\0" * (1 << 26)], pa.large_binary())
    patches = pa.chunked_array([*table["patch"].chunks, *[blob] * 40])
    big = pa.concat_tables([table, *[table.slice(len(table) - 1)] * 40])
    big = big.set_column(table.schema.get_field_index("patch"), "patch", patches)
    assert big["patch"].nbytes > 2**31
    found = Counterfactuals(FakeTables(some.tables.tables | {"inpaint": big}), some.counterfactuals.dataset)
    pixels = found.at_input(Small(), np.flatnonzero(found.kept), tmp_path / "kept.npy")
    assert np.array_equal(pixels[0], Small().square(some.images[found.ids[0]])) and len(found) == len(some.images)
