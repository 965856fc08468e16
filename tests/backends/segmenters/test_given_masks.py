"""Given masks: found by the image's path, refused with a list when something is wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ddb.backends import Failed, Found
from ddb.backends.segmenters.given_masks import check_complete, masks_identity, open_given_masks
from ddb.data.images import mask_png
from ddb.errors import DataError


def write(folder: Path, name: str, mask: np.ndarray) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mask_png(mask))


def test_the_mask_mirrors_the_images_path(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((9, 7)) < 0.3
    write(tmp_path, "land/bird.1.png", mask)
    (found,) = open_given_masks(str(tmp_path)).segment(["land/bird.1.jpg"], [np.zeros((9, 7, 3), np.uint8)], "bird", 1)
    assert isinstance(found, Found)
    assert np.array_equal(found.mask, mask)


def test_missing_masks_are_counted_and_the_first_five_listed(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(9)]
    write(tmp_path, "4.png", np.ones((2, 2), np.bool_))
    with pytest.raises(DataError, match=r"8 mask.*0\.png.*5\.png is missing and 3 more"):
        check_complete(open_given_masks(str(tmp_path)), names)
    check_complete(open_given_masks(str(tmp_path)), ["4.jpg"])


def test_a_mask_of_another_size_or_unreadable_fails_alone(tmp_path: Path) -> None:
    write(tmp_path, "a.png", np.ones((4, 6), np.bool_))
    (tmp_path / "b.png").write_bytes(b"no picture")
    write(tmp_path, "d.png", np.ones((5, 6), np.bool_))
    pictures = [*[np.zeros((5, 6, 3), np.uint8)] * 4, Failed("unreadable"), np.zeros((5, 6, 3), np.uint8)]
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", ""]
    *faults, good, passed, blank = open_given_masks(str(tmp_path)).segment(names, pictures, "bird", 6)
    words = ("a.png is 6x4, its image 6x5", "b.png is no readable PNG", "c.png is missing")
    for fault, said in zip(faults, words, strict=True):
        assert isinstance(fault, Failed)
        assert fault.reason.startswith(f"{tmp_path}: {said}") and "Give one PNG" in fault.reason
    assert isinstance(good, Found) and good.mask.all()
    assert passed == Failed("unreadable")
    assert isinstance(blank, Failed)


def test_paths_cannot_leave_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "secret.png", np.ones((2, 2), np.bool_))
    (tmp_path / "masks").mkdir()
    image = np.zeros((2, 2, 3), np.uint8)
    (found,) = open_given_masks(str(tmp_path / "masks")).segment(["../secret.jpg"], [image], "bird", 1)
    assert isinstance(found, Failed)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        open_given_masks(str(tmp_path / "nowhere"))


def test_the_identity_follows_the_content_of_the_masks_that_are_used(tmp_path: Path) -> None:
    names = ["land/a.jpg", "b.jpg", "c.jpg"]
    for name in ("land/a.png", "b.png", "unused.png"):
        write(tmp_path, name, np.ones((2, 2), np.bool_))
    first = masks_identity(str(tmp_path), names)
    assert re.fullmatch(r"given_masks@[0-9a-f]{12}", first)
    assert masks_identity(str(tmp_path), names[::-1]) == first
    write(tmp_path, "unused.png", np.zeros((2, 2), np.bool_))
    assert masks_identity(str(tmp_path), names) == first
    copy = shutil.copytree(tmp_path, tmp_path.with_name("elsewhere"))
    assert masks_identity(str(copy), names) == first
    write(tmp_path, "b.png", np.zeros((2, 2), np.bool_))
    second = masks_identity(str(tmp_path), names)
    write(tmp_path, "c.png", np.ones((2, 2), np.bool_))
    assert len({first, second, masks_identity(str(tmp_path), names)}) == 3
    assert masks_identity(str(tmp_path / "nowhere"), names) == masks_identity(str(tmp_path / "neither"), names)
