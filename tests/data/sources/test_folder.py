"""Folders as people and public data sets have them: what each becomes, or by which name it is refused."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.layout.recognise import recognise
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]


def fill(root: Path, draw: Draw, *folders: str, count: int = 6) -> Path:
    """`count` images in each folder, all different."""
    for number, folder in enumerate(folders):
        for n in range(count):
            draw(root / folder / f"{n}.png", seed=100 * number + n)
    return root


def cells(root: Path, **settings: object) -> dict[tuple[str, str], int]:
    """(folder of the images, split) -> number, in the data set that is read."""
    dataset = load_dataset(DataConfig.model_validate({"root": str(root), **settings}))
    return dict(Counter((row["image"].rpartition("/")[0], row["split"]) for row in dataset.samples.to_pylist()))


@pytest.mark.parametrize("source", ["folder", "auto"])
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train_set", "dev", "eval"),
        ("train2017", "valid", "holdout"),
        ("seg_train", "seg_val", "seg_test"),
    ],
)
def test_splits_by_all_usual_names(tmp_path: Path, draw: Draw, source: str, train: str, val: str, test: str) -> None:
    splits = {train: "train", val: "val", test: "test"}
    fill(tmp_path, draw, *(f"{split}/{name}" for split in splits for name in ("glioma", "none")))
    dataset = load_dataset(DataConfig.model_validate({"root": str(tmp_path), "source": source}))
    assert dataset.classes == ("glioma", "none") and not dataset.notes
    assert {(row["image"].split("/")[0], row["split"]) for row in dataset.samples.to_pylist()} == set(splits.items())


def test_a_folder_that_is_no_split_goes_nowhere(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, *(f"{split}/{name}" for split in ("train", "test", "trial") for name in ("cat", "dog")))
    dataset = load_dataset(DataConfig(root=str(tmp_path)))
    assert {row["image"].split("/")[0] for row in dataset.samples.to_pylist()} == {"train", "test"}
    assert dataset.classes == ("cat", "dog") and not dataset.quarantined
    assert dataset.notes[0].startswith("folder 'trial' (12 images) beside 'test', 'train' has no split's name: passed")


def test_two_folders_of_one_split_are_said(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, *(f"{split}/{name}" for split in ("train", "test", "holdout") for name in ("cat", "dog")))
    dataset = load_dataset(DataConfig(root=str(tmp_path)))
    assert dataset.split("test").num_rows == 24
    assert "the folders 'holdout', 'test' are all read as test images" in dataset.notes


@pytest.mark.parametrize("aside", ["masks", "annotations", "Labels", "ground_truth", "__MACOSX", "@eaDir", ".cache"])
@pytest.mark.parametrize("splits", [("",), ("train/", "test/")])
def test_folders_beside_the_classes_are_no_classes(
    tmp_path: Path, draw: Draw, aside: str, splits: tuple[str, ...]
) -> None:
    root = fill(tmp_path / "data", draw, *(f"{split}{name}" for split in splits for name in ("cat", "dog")))
    before = load_dataset(DataConfig(root=str(root)))
    fill(root, draw, f"{aside}/cat", f"{splits[0]}{aside}", f"{aside}/dog")
    after = load_dataset(DataConfig(root=str(root)))
    assert after.fingerprint == before.fingerprint and not after.quarantined and after.classes == ("cat", "dog")


def test_a_folder_of_other_files_is_no_class(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, "cat", "dog")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    dataset = load_dataset(DataConfig(root=str(tmp_path)))
    assert dataset.classes == ("cat", "dog") and "folder 'notes' holds no images: passed over" in dataset.notes


@pytest.mark.parametrize("source", ["folder", "auto"])
def test_images_and_masks_are_no_classes(tmp_path: Path, draw: Draw, source: str) -> None:
    """images/, masks/ and images.csv: the labels are in the table."""
    fill(tmp_path, draw, "images", "masks", count=8)
    config = DataConfig.model_validate({"root": str(tmp_path), "source": source})
    with pytest.raises(DataError) as error:
        load_dataset(config)
    assert "'images', 'masks' are not classes" in str(error.value)
    lines = ["path,label", *(f"images/{n}.png,{'cat' if n % 2 else 'dog'}" for n in range(8))]
    (tmp_path / "images.csv").write_text("\n".join(lines))
    if source == "folder":
        with pytest.raises(
            DataError, match=r"images\.csv lies there: if it holds the labels, name it \(--data .*csv\)"
        ):
            load_dataset(config)
    else:
        assert recognise(tmp_path).source == "table"
        dataset = load_dataset(config)
        assert dataset.classes == ("cat", "dog") and dataset.samples.num_rows == 8


def test_a_table_of_other_columns_beside_images(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, "images", count=12)
    rows = [f"images/{n}.png,{n % 2},{('train', 'val', 'test', 'pilot')[n // 2 % 4]}" for n in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,y,split", *rows]))
    dataset = load_dataset(DataConfig(source="auto", root=str(tmp_path)))
    assert dataset.classes == ("0", "1") and dataset.samples.num_rows == 10
    assert "2 rows of the split 'pilot' are passed over" in dataset.notes


@pytest.mark.parametrize("inner", ["cat", "train/cat"])
def test_class_folders_may_lie_in_images(tmp_path: Path, draw: Draw, inner: str) -> None:
    """ROOT/images/cat and ROOT/masks/cat: paths count from images, as the masks' do."""
    fill(tmp_path, draw, f"images/{inner}", f"images/{inner.replace('cat', 'dog')}", f"masks/{inner}")
    dataset = load_dataset(DataConfig(root=str(tmp_path)))
    assert dataset.classes == ("cat", "dog") and dataset.root == tmp_path / "images"
    assert dataset.samples["id"][0].as_py().startswith(inner) and dataset.samples.num_rows == 12
    assert dataset.notes[0] == f"the class folders are those in {tmp_path}/images"


def test_split_folders_inside_themselves(tmp_path: Path, draw: Draw) -> None:
    """seg_train/seg_train/buildings, as an archive of scenes is packed; train/images/cat."""
    fill(tmp_path, draw, *(f"seg_{s}/seg_{s}/{name}" for s in ("train", "test") for name in ("forest", "sea")))
    assert load_dataset(DataConfig(root=str(tmp_path))).classes == ("forest", "sea")
    shutil.rmtree(tmp_path / "seg_train")
    fill(tmp_path, draw, "train/images/forest", "train/images/sea", "train/masks/forest")
    dataset = load_dataset(DataConfig(root=str(tmp_path)))
    assert dataset.classes == ("forest", "sea") and dataset.split("test").num_rows == 12


def test_splits_inside_the_classes(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, *(f"{name}/{split}" for split in ("train", "test") for name in ("cat", "dog")))
    found = cells(tmp_path, val_share=0.2)
    assert found == {
        ("cat/train", "train"): 5,
        ("cat/train", "val"): 1,
        ("cat/test", "test"): 6,
        ("dog/train", "train"): 5,
        ("dog/train", "val"): 1,
        ("dog/test", "test"): 6,
    }
    fill(tmp_path, draw, "fox")
    with pytest.raises(DataError, match=r"class folder 'fox' holds no training folder, others hold folders of splits"):
        cells(tmp_path)


def test_defects_of_products_are_no_classes(tmp_path: Path, draw: Draw) -> None:
    """MVTec: bottle/{train/good, test/broken, ground_truth/broken}."""
    fill(tmp_path, draw, "bottle/train/good", "bottle/test/broken", "bottle/ground_truth/broken")
    with pytest.raises(DataError, match=r"all images lie in 'bottle', .*set data\.root to .*/bottle"):
        cells(tmp_path)


def test_nested_folders_belong_to_their_class(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, "cat/sofa", "cat/bed/deep", "dog")
    assert load_dataset(DataConfig(root=str(tmp_path))).classes == ("cat", "dog")


REFUSED = {
    "images directly in splits": (("train", "test"), r"the 12 images in 'test', 'train' lie in no class folders"),
    "yolo": (("train/images", "test/images"), r"the 12 images in 'test', 'train' lie in no class folders"),
    "an unlabelled test folder": (("cat", "dog", "test"), r"'test' has the name of a split but lies beside .*'dog'"),
    "training classes at the top": (
        ("cat", "dog", "test/cat", "test/dog"),
        r"no folder 'train' beside 'test': .*; 'cat', 'dog' beside it may be what belongs into it",
    ),
    "no training folder": (("Testing/cat", "Validation/cat"), r"no folder 'train' beside 'Testing', 'Validation'"),
    "one folder above": (("pets/cat", "pets/dog"), r"all images lie in 'pets', .*: set data\.root to .*/pets"),
    "one folder above the splits": (("pets/train/cat", "pets/test/cat"), r"all images lie in 'pets', .*/pets"),
    "images in no folder": ((".",), r"6 images lie in no folder"),
}  # fmt: skip


@pytest.mark.parametrize("source", ["folder", "auto"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_class_folders_is_refused_by_name(tmp_path: Path, draw: Draw, case: str, source: str) -> None:
    folders, reason = REFUSED[case]
    fill(tmp_path, draw, *folders)
    with pytest.raises(DataError) as error:
        cells(tmp_path, source=source)
    assert re.search(reason, str(error.value)) and "too few" not in str(error.value)


def test_classes_that_are_called_like_splits(tmp_path: Path, draw: Draw) -> None:
    """Vehicles: bus, car, train."""
    fill(tmp_path, draw, "bus", "car", "train")
    with pytest.raises(DataError, match="name the classes that are meant"):
        cells(tmp_path)
    assert {folder for folder, _ in cells(tmp_path, classes=["bus", "car", "train"])} == {"bus", "car", "train"}
    assert {folder for folder, _ in cells(tmp_path, classes=["bus", "car"])} == {"bus", "car"}


ALPHABETS = ("кошка", "狗", "חתול", "قطة", "🐶", "é", "e\u0301", "नमस्ते", "a b", "=1+1", 'O\'Neil, "x"')


def test_class_names_of_all_alphabets_stay_what_they_are(tmp_path: Path, draw: Draw) -> None:
    """Also two that look alike: é in one character and in two."""
    fill(tmp_path, draw, *ALPHABETS, count=4)
    dataset = load_dataset(DataConfig(root=str(tmp_path)), tmp_path / "cache")
    assert dataset.classes == tuple(sorted(ALPHABETS)) and len(dataset.classes) == len(ALPHABETS)
    labels = {row["image"].split("/")[0]: row["label"] for row in dataset.samples.to_pylist()}
    assert {name: dataset.classes[label] for name, label in labels.items()} == {name: name for name in ALPHABETS}
    assert load_dataset(DataConfig(root=str(tmp_path)), tmp_path / "cache").fingerprint == dataset.fingerprint
    chosen = load_dataset(DataConfig(root=str(tmp_path), classes=("🐶", "e\u0301", "é")))
    assert chosen.classes == ("🐶", "e\u0301", "é")


def test_a_class_is_found_however_its_letters_are_composed(tmp_path: Path, draw: Draw) -> None:
    """Folders of a Mac (two characters), settings typed elsewhere (one)."""
    fill(tmp_path, draw, "cafe\u0301", "the")
    assert load_dataset(DataConfig(root=str(tmp_path), classes=("the", "caf\u00e9"))).classes == ("the", "cafe\u0301")


def test_a_class_that_is_written_in_two_ways_is_named(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, "train/cafe\u0301", "train/the", "test/caf\u00e9", "test/the")
    with pytest.raises(DataError, match=r"another class looks the same; this one is written b'cafe\\\\u0301'"):
        cells(tmp_path)


def test_names_that_are_no_text_are_faults(tmp_path: Path, draw: Draw) -> None:
    fill(tmp_path, draw, "cat", "dog")
    os.rename(tmp_path / "cat" / "0.png", os.fsencode(tmp_path / "cat") + b"/\xff.png")
    with pytest.raises(DataError, match=r"the name 'cat/\\\\xff\.png' is not UTF-8 text: rename it"):
        cells(tmp_path)


def test_a_thousand_folders_take_no_time(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number:04d}").mkdir()
        (tmp_path / f"{number:04d}" / "a.png").write_bytes(b"")
    assert "1000 folders of images" in recognise(tmp_path).why


def test_a_run_folder_in_the_data_folder_is_no_data(tmp_path: Path, draw: Draw) -> None:
    """`ddb run photos --data .` writes runs/photos there."""
    fill(tmp_path, draw, "cat", "dog")
    before = load_dataset(DataConfig(root=str(tmp_path)))
    fill(tmp_path / "runs" / "photos", draw, "balanced/train/images/cat")
    (tmp_path / "runs" / "photos" / "1-erm").mkdir()
    for name in ("config.yaml", "environment.json", "samples.parquet", "1-erm/part-0.parquet"):
        (tmp_path / "runs" / "photos" / name).write_text("x")
    for source in ("folder", "auto"):
        config = DataConfig.model_validate({"root": str(tmp_path), "source": source})
        assert load_dataset(config).fingerprint == before.fingerprint
