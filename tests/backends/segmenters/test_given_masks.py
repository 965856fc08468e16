"""Given masks: found by the image's path, one row each whatever is wrong with them, counted before a run."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddb.backends import Failed, Found
from ddb.backends.segmenters.given_masks import masks_identity, open_given_masks, survey, survey_lines
from ddb.data.images import mask_png
from ddb.errors import ConfigError, DataError
from ddb.preflight import check


def write(folder: Path, name: str, mask: np.ndarray) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mask_png(mask))


def picture(path: Path, height: int = 4, width: int = 6, **save: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 9, np.uint8)).save(path, **save)  # type: ignore[arg-type]


def test_the_mask_mirrors_the_images_path(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((9, 7)) < 0.3
    write(tmp_path, "land/bird.1.png", mask)
    (found,) = open_given_masks(str(tmp_path)).segment(["land/bird.1.jpg"], [np.zeros((9, 7, 3), np.uint8)], "bird", 1)
    assert isinstance(found, Found)
    assert np.array_equal(found.mask, mask) and (found.score, found.reason) == (1.0, "")


def test_each_image_has_its_own_result(tmp_path: Path) -> None:
    """A missing mask is no error; one that cannot be used spoils no other."""
    write(tmp_path, "good.png", np.ones((5, 6), np.bool_))
    write(tmp_path, "small.png", np.ones((4, 6), np.bool_))
    write(tmp_path, "turned.png", np.ones((6, 5), np.bool_))
    write(tmp_path, "empty.png", np.zeros((5, 6), np.bool_))
    (tmp_path / "text.png").write_bytes(b"no picture")
    picture(tmp_path / "other.jpg", 5, 6)
    names = [f"{name}.jpg" for name in ("good", "small", "turned", "empty", "text", "other", "gone", "../x")]
    found = open_given_masks(str(tmp_path)).segment(names, [np.zeros((5, 6, 3), np.uint8)] * 8, "bird", 3)
    usable = [one for one in found if isinstance(one, Found)]
    assert [one.mask.shape for one in usable] == [(5, 6)] * 3
    assert [bool(one.mask.any()) for one in usable] == [True, False, False]
    told = [one.reason for one in found]
    expected = [
        "",
        r"small\.png is 6x4, its image 6x5$",
        r"turned\.png is 5x6, its image 6x5: the photograph is turned by EXIF and its mask is not",
        "",
        r"text\.png: damaged, or not a JPEG, PNG",
        r"other\.png is missing, other\.jpg lies there: masks are PNG",
        r"no mask is given: gone\.png",
        "not a path inside",
    ]
    for text, wanted in zip(told, expected, strict=True):
        assert re.search(wanted, text) and bool(wanted) == bool(text), text
    assert [isinstance(one, Failed) for one in found] == [False, True, True, False, True, True, False, True]


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".zip", ".npy"])
def test_what_is_no_folder_of_masks_is_named_as_what_it_is(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match=r"nowhere is no folder;"):
        open_given_masks(str(tmp_path / "nowhere"))
    (tmp_path / f"masks{suffix}").write_bytes(b"x")
    what = {".zip": "an archive", ".npy": "an array of NumPy"}.get(suffix, "a file of model weights")
    with pytest.raises(DataError, match=rf"masks\{suffix} is no folder but {what}"):
        open_given_masks(str(tmp_path / f"masks{suffix}"))


def test_a_survey_opens_every_mask(tmp_path: Path) -> None:
    root, masks = tmp_path / "photos", tmp_path / "masks"
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b", "c", "d", "f"):
        picture(root / "cat" / f"{name}.jpg")
    picture(root / "cat" / "e.jpg", 4, 6, exif=exif)
    write(masks, "cat/a.png", np.ones((4, 6), np.bool_))
    write(masks, "cat/b.png", np.zeros((4, 6), np.bool_))
    write(masks, "cat/d.png", np.ones((4, 7), np.bool_))
    write(masks, "cat/e.png", np.ones((4, 6), np.bool_))
    write(masks, "cat/f.png", np.arange(24).reshape(4, 6) % 2 == 0)
    given = open_given_masks(str(masks))
    found = survey(given, root, [f"cat/{name}.jpg" for name in "abcdef"], "cat")
    assert (found.usable, found.empty, found.missing) == (("cat/a.jpg", "cat/f.jpg"), ("cat/b.jpg",), ("cat/c.jpg",))
    assert found.faults == (
        "cat/d.png is 7x4, its image 6x4",
        "cat/e.png is 6x4, its image 4x6: the photograph is turned by EXIF and its mask is not; turn the mask",
    )
    lines, faults = survey_lines(found, given)
    assert lines == [
        "masks: 2 of 6 training images have one",
        "masks: 1 have none and are skipped: cat/c.jpg",
        "masks: 1 have an empty one and are skipped: cat/b.jpg",
    ]
    assert len(faults) == 1 and "2 mask(s) unusable: cat/d.png is 7x4" in faults[0]
    write(masks, "cat/e.png", np.ones((6, 4), np.bool_))
    assert survey(given, root, ["cat/e.jpg"], "cat").usable == ("cat/e.jpg",)


def test_no_mask_at_all_is_a_fault(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "masks").mkdir()
    given = open_given_masks(str(tmp_path / "masks"))
    _, faults = survey_lines(survey(given, tmp_path, ["a.jpg"], "x"), given)
    assert len(faults) == 1 and re.search(r"no mask for any of 1 training images \(looked for: a\.png\)", faults[0])


def coco(path: Path, side: float = 2, names: tuple[str, ...] = ("a.jpg", "b.jpg")) -> str:
    shapes = [[0, 0, side, 0, side, side, 0, side]]
    held = {
        "images": [{"id": n, "file_name": name, "height": 4, "width": 6} for n, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": shapes}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path.write_text(json.dumps(held))
    return str(path)


def test_a_coco_file_is_read_as_masks(tmp_path: Path) -> None:
    given = open_given_masks(coco(tmp_path / "annotations.json"))
    blank = np.zeros((4, 6, 3), np.uint8)
    a, b, c = given.segment(["cat/a.jpg", "cat/b.jpg", "cat/c.jpg"], [blank] * 3, "cat", 2)
    expected = np.zeros((4, 6), np.bool_)
    expected[:2, :2] = True
    assert np.array_equal(a.mask, expected) and not b.mask.any() and not c.mask.any()
    assert "no mask is given: an image b.jpg with annotations" in b.reason
    (small,) = given.segment(["a.jpg"], [np.zeros((3, 6, 3), np.uint8)], "cat", 1)
    assert isinstance(small, Failed) and "is 6x4, its image 6x3" in small.reason


def test_the_identity_of_a_coco_file_follows_what_is_used(tmp_path: Path) -> None:
    first = masks_identity(coco(tmp_path / "a.json"), ["x/a.jpg", "x/b.jpg"])
    assert (
        masks_identity(coco(tmp_path / "b.json", names=("a.jpg", "b.jpg", "more.jpg")), ["x/b.jpg", "x/a.jpg"]) == first
    )
    assert masks_identity(coco(tmp_path / "a.json", side=3), ["x/a.jpg", "x/b.jpg"]) != first
    with pytest.raises(DataError, match=r"a\.jpg stand for several images: name their folders too"):
        masks_identity(str(tmp_path / "a.json"), ["x/a.jpg", "y/a.jpg"])


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


def test_check_opens_every_mask(tmp_path: Path) -> None:
    """A folder of 0 and 1 with one bad file: named before a run; without it: counted."""
    for label, name in enumerate(("cat", "dog")):
        for number in range(8):
            picture(tmp_path / "photos" / name / f"{number}.png", 20 + number, 20 + label)
            mask = np.zeros((20 + number, 20 + label), np.uint8)
            mask[5:15, 5:15] = 1
            (tmp_path / "masks" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(tmp_path / "masks" / name / f"{number}.png")
    settings = ["erm.weights=none", "segment.backend=given", f"segment.masks={tmp_path / 'masks'}", "device=cpu"]
    call = partial(check, "photos", [*settings, "inpaint.backend=copy_paste"], data=tmp_path / "photos")
    lines = call()
    train = next(int(match[1]) for line in lines if (match := re.search(r"train: (\d+) images", line)))
    assert f"masks: {train} of {train} training images have one" in lines
    for name in ("cat", "dog"):
        for path in (tmp_path / "masks" / name).iterdir():
            path.write_bytes(path.read_bytes() if name == "cat" else b"no picture")
    with pytest.raises(
        ConfigError, match=r"segment\.masks: .* mask\(s\) unusable: dog/\d\.png: damaged, or not a JPEG"
    ):
        call()
    shutil.rmtree(tmp_path / "masks" / "dog")
    assert any(re.search(r"masks: \d+ have none and are skipped: dog/\d\.png", line) for line in call())
