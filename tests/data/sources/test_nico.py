"""NICO++ as folders, with lists, and with SubpopBench's metadata.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.data.sources.nico import CONTEXTS, list_nico
from ddb.errors import DataError

Draw = Callable[..., Path]
OBJECTS = ("bear", "hot air balloon")


def folders(home: Path, draw: Draw, count: int = 4) -> list[Path]:
    return [
        draw(home / context / name / f"{context}_{number:03d}.jpg", seed=number)
        for context in CONTEXTS
        for name in OBJECTS
        for number in range(count)
    ]


def lists(root: Path, draw: Draw) -> Path:
    """Three of four images are training images."""
    for path in folders(root / "NICO_DG", draw):
        split = "test" if path.stem.endswith("3") else "train"
        target = root / "NICO_DG_official" / f"{path.parents[1].name}_{split}.txt"
        target.parent.mkdir(exist_ok=True)
        with target.open("a") as file:
            file.write(f"{path.relative_to(root).as_posix()} {OBJECTS.index(path.parent.name)}\n")
    return root


def test_lists_give_the_splits(tmp_path: Path, draw: Draw) -> None:
    dataset = load_dataset(DataConfig(source="nico", root=str(lists(tmp_path, draw))))
    assert (dataset.classes, dataset.attributes) == (OBJECTS, CONTEXTS)
    counts = dataset.counts()
    assert len(counts["test"]) == 12 and set(counts["test"].values()) == {1}
    assert sum(counts["train"].values()) + sum(counts["val"].values()) == 36


def test_lists_of_another_machine(tmp_path: Path, draw: Draw) -> None:
    root = lists(tmp_path / "data", draw)
    for path in (root / "NICO_DG_official").iterdir():
        path.write_text("".join(f"/home/somebody/{line}\n" for line in path.read_text().splitlines()))
    dataset = load_dataset(DataConfig(source="nico", root=str(root)))
    assert sum(sum(cells.values()) for cells in dataset.counts().values()) == 48
    assert any("absolute paths were found" in note for note in dataset.notes)


def test_the_wrong_number_of_a_class_is_told(tmp_path: Path, draw: Draw) -> None:
    root = lists(tmp_path, draw)
    with (root / "NICO_DG_official" / "autumn_train.txt").open("a") as file:
        file.write("NICO_DG/autumn/bear/autumn_003.jpg 1\nnonsense\n")
    assert list_nico(str(root)).faults == [
        "autumn_train.txt line 8 is not a path and the number of a class",
        "class 1 stands for bear, hot air balloon",
    ]


def test_folders_alone_have_no_splits(tmp_path: Path, draw: Draw) -> None:
    folders(tmp_path / "public_dg_0416" / "train", draw)
    listing = list_nico(str(tmp_path))
    assert {entry.split for entry in listing.entries} == {None} and len(listing.entries) == 48
    assert listing.entries[0].image == "public_dg_0416/train/autumn/bear/autumn_000.jpg"
    folders(tmp_path / "bare", draw)
    assert len(list_nico(str(tmp_path / "bare")).entries) == 48


def test_subpopbenchs_splits(tmp_path: Path, draw: Draw) -> None:
    paths = folders(tmp_path / "public_dg_0416" / "train", draw)
    rows = [
        f"/elsewhere/nicopp/{path.relative_to(tmp_path).as_posix()},{OBJECTS.index(path.parent.name)},"
        f"{CONTEXTS.index(path.parents[1].name)},{min(2, n % 4)}"
        for n, path in enumerate(paths)
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(["filename,y,a,split", *rows, ""]))
    for source in ("nico", "auto"):
        dataset = load_dataset(DataConfig.model_validate({"source": source, "root": str(tmp_path)}))
        assert (dataset.classes, dataset.attributes) == (OBJECTS, CONTEXTS)
        assert [sum(dataset.counts()[split].values()) for split in ("train", "val", "test")] == [12, 12, 24]
    (tmp_path / "metadata.csv").write_text("\n".join(["filename,y,a,split", *rows[:-1], rows[-1][:-1] + "7"]))
    assert Counter(list_nico(str(tmp_path)).faults) == {
        "line 49: split '7' is unknown: use 0 (train), 1 (val), 2 (test)": 1
    }


def test_another_folder_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="is no NICO"):
        list_nico(str(folder))
