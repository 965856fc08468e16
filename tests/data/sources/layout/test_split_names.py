"""Names of splits."""

from __future__ import annotations

import pytest

from ddb.data.sources.layout.split_names import UnknownSplits, split_in_path, split_named, splits_of_paths

NAMES = {
    "train": "train Train TRAIN training Training trainset train_set train-images Train2017 images_train seg_train trn",
    "val": "val VAL valid Valid validation Validation dev development val2017 validation_set valid_images",
    "test": "test Test testing Testing eval evaluation holdout hold-out Held_Out test1 test_data seg_test TestSet",
    None: "trainer training_wheels trial tset testtube test_tube train_val trainval pred unlabeled extra 0 1 cat devil",
}


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in NAMES.items() for name in names.split()])
def test_spellings(split: str | None, name: str) -> None:
    assert split_named(name) == split


def test_words_in_paths() -> None:
    assert split_in_path("data/train-00000-of-00002-a09b74b3ef9c3b56") == "train"
    assert split_in_path("Validation/0000") == "val" and split_in_path("default/partial-train/0") == "train"
    assert split_in_path("latest/contest") is None


def test_folders_decide_before_files() -> None:
    assert splits_of_paths(["train/a.png", "test/train_1.png", "more/b.png"]) == ["train", "test", None]
    assert splits_of_paths(["x/train_1.png", "x/test_1.png"]) == ["train", "test"]
    assert splits_of_paths(["x/test tube.png", "x/lamp.png"]) == [None, None]


def test_unknown_names_are_counted() -> None:
    splits = UnknownSplits({"0": "train"})
    found = [splits.look_up(name) for name in ("0", " Test ", "trial", "x", "trial")]
    assert found == ["train", "test", None, None, None]
    assert splits.notes() == ["2 rows of the split 'trial' are passed over", "1 rows of the split 'x' are passed over"]
