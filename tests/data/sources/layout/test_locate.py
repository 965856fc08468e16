"""Absolute paths of another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.layout.locate import located, trailing_part
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("data/train/cat/1.jpg", "data/cat/1.jpg", "data/1.jpg", "data/img/2.jpg", "outside.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("/home/me/sets/train/cat/1.jpg", "train/cat/1.jpg"),  # the longest part wins over cat/1.jpg and 1.jpg
        ("/home/me/cat/1.jpg", "cat/1.jpg"),
        ("/elsewhere/1.jpg", "1.jpg"),
        ("C:/sets/cat/1.jpg", "cat/1.jpg"),
        ("/nowhere/3.jpg", None),
        ("/etc/passwd", None),
        ("/train/../1.jpg", None),
        ("/a\0b/1.jpg", "1.jpg"),
    ],
)
def test_the_longest_trailing_part_below_the_root(root: Path, written: str, found: str | None) -> None:
    assert trailing_part(root, written) == found


def test_an_absolute_path_on_this_machine_is_found(root: Path) -> None:
    assert trailing_part(root, str(root / "train" / "cat" / "1.jpg")) == "train/cat/1.jpg"
    assert trailing_part(root, str(root.parent / "outside.jpg")) is None


def test_links_that_lead_out_are_not_followed(root: Path) -> None:
    (root / "link.jpg").symlink_to(root.parent / "outside.jpg")
    (root / "up").symlink_to(root.parent)
    assert trailing_part(root, "/x/link.jpg") is None and trailing_part(root, "/x/up/outside.jpg") is None


def test_relative_paths_stay_or_get_the_folder_that_holds_the_first(root: Path) -> None:
    assert located(root, ["cat\\1.jpg", "gone.jpg"], ("img",)) == (["cat/1.jpg", "gone.jpg"], [])
    assert located(root, ["2.jpg", "gone.jpg", ""], ("none", "img")) == (["img/2.jpg", "img/gone.jpg", ""], [])
    paths, notes = located(root, ["/a/cat/1.jpg", "/b/9.jpg"])
    assert paths == ["cat/1.jpg", "/b/9.jpg"] and len(notes) == 1
    assert "1 absolute paths were found" in notes[0] and "/a/cat/1.jpg as cat/1.jpg" in notes[0]


def test_a_table_with_paths_of_another_machine_loads_and_says_so(folder: Path) -> None:
    text = "path,label\n" + "".join(f"/mnt/pets/{c}/{n}.png,{c}\n" for c in ("cat", "dog") for n in range(8))
    (folder / "list.csv").write_text(text)
    dataset = load_dataset(DataConfig(source="table", root=str(folder / "list.csv")))
    assert dataset.samples.num_rows == 16 and "cat/0.png" in dataset.rows
    assert any("16 absolute paths were found" in note for note in dataset.notes)
    (folder / "list.csv").write_text(text + "/mnt/pets/cat/99.png,cat\n/other/cat/0.png,cat\n")
    with pytest.raises(DataError) as error:
        load_dataset(DataConfig(source="table", root=str(folder / "list.csv")))
    assert "line 18: '/mnt/pets/cat/99.png' is not a path inside" in str(error.value)
    assert "line 19: image 'cat/0.png' stands there twice, before in line 2" in str(error.value)
