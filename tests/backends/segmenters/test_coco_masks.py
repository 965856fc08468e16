"""Masks from one COCO file: shapes as pycocotools draws them (recorded with 2.0.11) and by closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddb.backends.segmenters.coco_masks import read_coco
from ddb.backends.segmenters.coco_shapes import shape_mask
from ddb.errors import DataError

# polygons, (height, width), packed run lengths of pycocotools' mask, its area
RECORDED = [
    (
        [[3.2, 2.1, 25.7, 4.4, 20.0, 20.5, 9.9, 14.3, 4.0, 21.0]],
        (24, 30),
        "Z27a0;EO2N1O1O1O100001O1O001O010O1O00O1M3N2M3M3Mo2",
        287,
    ),
    (
        [[-3.0, 5.0, 12.5, -2.0, 33.0, 12.0, 15.0, 30.0], [1, 1, 4, 1, 4, 4, 1, 4]],
        (24, 30),
        "37?3O1O2O0N3N1N2O2N1Oj3OWL001O1O001N2N2N1O2N2N1O2N2NG",
        511,
    ),
]


@pytest.mark.parametrize(("polygons", "size", "packed", "area"), RECORDED)
def test_polygons_are_drawn_as_pycocotools_draws_them(polygons: Any, size: Any, packed: str, area: int) -> None:
    mask = shape_mask(polygons, size)
    assert mask.shape == size and mask.dtype == np.bool_ and mask.sum() == area
    assert np.array_equal(mask, shape_mask({"size": list(size), "counts": packed}, size))


def test_a_rectangle_covers_its_pixels() -> None:
    mask = shape_mask([[10, 5, 30, 5, 30, 25, 10, 25]], (40, 40))
    expected = np.zeros((40, 40), np.bool_)
    expected[5:25, 10:30] = True
    assert np.array_equal(mask, expected) and mask.mean() == 0.25


@given(runs=st.lists(st.integers(0, 40), min_size=1, max_size=12), height=st.integers(1, 9))
def test_run_lengths_go_down_the_columns(runs: list[int], height: int) -> None:
    runs[-1] += -sum(runs) % height
    width = sum(runs) // height
    flat = [number % 2 == 1 for number, run in enumerate(runs) for _ in range(run)]
    if width:
        mask = shape_mask({"size": [height, width], "counts": runs}, (height, width))
        assert [mask[i % height, i // height] for i in range(height * width)] == flat


def square(left: float = 10, top: float = 10, side: float = 20) -> list[list[float]]:
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def coco(folder: Path, names: dict[str, list[tuple[str, Any]]], size: int = 40) -> Path:
    """A file of images with (category, segmentation) each."""
    categories = sorted({category for shapes in names.values() for category, _ in shapes})
    held: dict[str, Any] = {
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, start=7)],
        "images": [{"id": f"i{n}", "file_name": name, "height": size, "width": size} for n, name in enumerate(names)],
        "annotations": [],
    }
    for n, shapes in enumerate(names.values()):
        for category, shape in shapes:
            number = 7 + categories.index(category)
            row = {"id": len(held["annotations"]), "image_id": f"i{n}", "category_id": number, "segmentation": shape}
            held["annotations"].append(row)
    (folder / "annotations.json").write_text(json.dumps(held))
    return folder / "annotations.json"


def test_the_annotations_of_an_image_are_one_mask(tmp_path: Path) -> None:
    run = {"size": [40, 40], "counts": [0, 40, 1560]}
    source = read_coco(coco(tmp_path, {"land/a.jpg": [("bird", square()), ("bird", run)], "land/b.jpg": []}))
    mask = source.mask("land/a.jpg", "object")
    assert mask is not None and mask.sum() == 400 + 40 and mask[:, 0].all()
    assert source.mask("land/b.jpg", "object") is None and source.mask("land/c.jpg", "object") is None


@pytest.mark.parametrize(("phrase", "area"), [("bird", 400), (" Bird. ", 400), ("tree", 100), ("animal", 500)])
def test_a_phrase_that_is_a_category_chooses_it(tmp_path: Path, phrase: str, area: int) -> None:
    source = read_coco(coco(tmp_path, {"a.jpg": [("Bird", square()), ("tree", square(0, 0, 10))]}))
    mask = source.mask("a.jpg", phrase)
    assert mask is not None and mask.sum() == area
    assert (
        read_coco(coco(tmp_path, {"a.jpg": [("bird", square())], "b.jpg": [("tree", square())]})).mask("b.jpg", "bird")
        is None
    )


def test_names_fit_by_their_ends(tmp_path: Path) -> None:
    names = {
        "cat/1.jpg": [("x", square(side=1))],
        "dog/1.jpg": [("x", square(side=2))],
        "2.jpg": [("x", square(side=3))],
    }
    source = read_coco(coco(tmp_path, names))
    areas = {}
    for image in ("train/cat/1.jpg", "dog/1.jpg", "train/cat/2.jpg"):
        mask = source.mask(image, "x")
        areas[image] = None if mask is None else int(mask.sum())
    assert areas == {"train/cat/1.jpg": 1, "dog/1.jpg": 4, "train/cat/2.jpg": 9}
    assert source.mask("train/xcat/1.jpg", "x") is None and source.mask("train/fox/3.jpg", "x") is None
    with pytest.raises(DataError, match=r"1\.jpg may be any of cat/1\.jpg, dog/1\.jpg"):
        source.mask("1.jpg", "x")
    assert source.doubles(["cat/1.jpg", "cat/2.jpg"]) == [] and source.doubles(["cat/2.jpg", "dog/2.jpg"]) == ["2.jpg"]


def test_what_a_mask_is_made_from_is_hashed(tmp_path: Path) -> None:
    before = read_coco(coco(tmp_path, {"a.jpg": [("x", square())], "b.jpg": [("x", square())]}))
    after = read_coco(coco(tmp_path, {"b.jpg": [("x", square(side=5))], "a.jpg": [("x", square())]}))
    assert before.digest("t/a.jpg") == after.digest("a.jpg") and before.digest("b.jpg") != after.digest("b.jpg")
    assert after.digest("c.jpg") == ""


BAD_SHAPES = {
    "none": (None, "annotation 0: it has no segmentation"),
    "empty": ([], "has no segmentation"),
    "odd": ([[1, 2, 3]], "not a list of x and y in turns"),
    "text": ([["a", "b"]], "could not convert"),
    "far": ([[0, 0, 1e9, 0, 0, 1e9]], "far outside"),
    "not finite": ([[0, 0, float("nan"), 0, 0, 5]], "far outside"),
    "size": ({"size": [40, 41], "counts": [1640]}, r"for \[40, 41\], not for \[40, 40\]"),
    "short": ({"size": [40, 40], "counts": [10, 20]}, "cover 30 pixels of 1600"),
    "bomb": ({"size": [40, 40], "counts": [10**15]}, "cover 1000000000000000 pixels"),
    "negative": ({"size": [40, 40], "counts": [1700, -100]}, "not whole numbers"),
    "packed": ({"size": [40, 40], "counts": "3\n"}, "character"),
    "no counts": ({"size": [40, 40]}, "not whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_bad_shapes_are_named(tmp_path: Path, case: str) -> None:
    shape, reason = BAD_SHAPES[case]
    with pytest.raises(DataError, match=reason) as error:
        read_coco(coco(tmp_path, {"a.jpg": [("x", shape)]})).mask("a.jpg", "x")
    assert "a.jpg: annotation 0" in str(error.value)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"images": [], "annotations": 3}', '{"images": [{}], "annotations": []}']
)
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json is (no COCO file|not readable JSON)"):
        read_coco(tmp_path / "a.json")
