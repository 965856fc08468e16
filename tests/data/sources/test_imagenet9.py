"""ImageNet-9's layout: training images and the variations of the test images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.imagenet9 import CLASSES, FOLDERS, HIDDEN, SHOWN, list_imagenet9
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]


def images(root: Path, draw: Draw, home: str, count: int) -> None:
    one = root.parent / "one.JPEG"
    if not one.exists():
        draw(one)
    for folder in FOLDERS:
        (root / home / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / home / folder / f"n0{number}.JPEG").hardlink_to(one)


def variations(root: Path, draw: Draw, where: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in (*SHOWN, *HIDDEN):
        images(root, draw, f"{where}{name}/val", 2)
    return root


def test_variations_are_attributes_of_the_test_images(tmp_path: Path, draw: Draw) -> None:
    root = variations(tmp_path / "in9", draw, "bg_challenge/")
    images(root, draw, "original/train", 5)
    images(root, draw, "original/val", 3)  # part of the same download
    mask = root / "bg_challenge" / "fg_mask" / "val" / FOLDERS[0] / "n00.npy"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(b"")
    dataset = load_dataset(DataConfig(source="imagenet9", root=str(root)))
    assert dataset.classes == CLASSES and dataset.attributes == SHOWN
    counts = dataset.counts()
    assert {group.attribute for split in ("train", "val") for group in counts[split]} == {0}
    assert sum(counts["train"].values()) + sum(counts["val"].values()) == 45, "original/val is left out"
    assert list(counts["test"].values()) == [2] * 45
    assert "no_fg, only_bg_b, only_bg_t are left out" in dataset.notes[0]
    assert dataset.notes[1].startswith("warning: group counts differ from the published ones of ImageNet-9: train 5/5")


def test_the_larger_training_set(tmp_path: Path, draw: Draw) -> None:
    root = variations(tmp_path / "in9", draw, "bg_challenge/")
    images(root, draw, "in9l/train", 4)
    assert list_imagenet9(str(root)).notes[0].startswith("test images of no_fg")
    images(root, draw, "original/train", 3)
    both = list_imagenet9(str(root))
    assert both.notes[0] == "training images are those of original; in9l is there too (data.variant)"
    assert sum(entry.split == "train" for entry in both.entries) == 27
    larger = list_imagenet9(str(root), "in9l")
    assert sum(entry.split == "train" for entry in larger.entries) == 36 and not larger.benchmark


def test_test_variations_beside_the_training_images(tmp_path: Path, draw: Draw) -> None:
    root = variations(tmp_path / "in9", draw, "")
    images(root, draw, "in9l/train", 2)
    found = list_imagenet9(str(root))
    assert Counter(entry.split for entry in found.entries) == {"train": 18, "test": 90}
    images(root, draw, "original/train", 2)
    with pytest.raises(DataError, match=r"original may hold validation or test images: move the test variations"):
        list_imagenet9(str(root))


def test_what_is_missing_or_strange_is_told(tmp_path: Path, draw: Draw) -> None:
    with pytest.raises(DataError, match=r"no training images of ImageNet-9: there should be original/train/00_dog or"):
        list_imagenet9(str(tmp_path))
    root = tmp_path / "in9"
    root.mkdir()
    images(root, draw, "original/train", 2)
    with pytest.raises(DataError, match=r"no test images: there should be bg_challenge/original/val/00_dog"):
        list_imagenet9(str(root))
    with pytest.raises(DataError, match=r"there should be in9l/train/00_dog"):
        list_imagenet9(str(root), "in9l")
    variations(root, draw, "bg_challenge/")
    draw(root / "original" / "train" / "09_plant" / "1.JPEG")
    assert list_imagenet9(str(root)).faults == [
        f"original/train/09_plant is no class: the folders are {', '.join(FOLDERS)}"
    ]
