"""WILDS-style metadata and SubpopBench's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError

Draw = Callable[..., Path]
Row = tuple[str, int, int, int]
"""(image, y, a, split)."""


def grid(counts: Sequence[int] = (3, 1, 1), suffix: str = ".jpg") -> list[Row]:
    """Every group in every split."""
    cells = [(y, a, split) for split, n in enumerate(counts) for y in (0, 1) for a in (0, 1) for _ in range(n)]
    return [(f"{number:06d}{suffix}", y, a, split) for number, (y, a, split) in enumerate(cells, start=1)]


def write(path: Path, header: str, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def config(source: str, root: Path, **settings: str) -> DataConfig:
    return DataConfig.model_validate({"source": source, "root": str(root), **settings})


def pictures(folder: Path, draw: Draw, rows: Sequence[Row]) -> None:
    for number, (name, *_) in enumerate(rows):
        draw(folder / name, seed=number)


@pytest.mark.parametrize(
    ("name", "classes", "attributes", "below"),
    [
        ("waterbirds", ("landbird", "waterbird"), ("land", "water"), "waterbird_complete95_forest2water2"),
        ("celeba", ("not blond", "blond"), ("female", "male"), "img_align_celeba"),
        ("metashift", ("dog", "cat"), ("outdoor", "indoor"), ""),
        ("other", ("0", "1"), ("0", "1"), ""),
    ],
)
def test_subpopbenchs_files_and_what_their_codes_mean(
    tmp_path: Path, draw: Draw, name: str, classes: tuple[str, ...], attributes: tuple[str, ...], below: str
) -> None:
    """MetaShift's has absolute paths of the machine that wrote it, the others paths below a folder of known name."""
    rows = grid()
    pictures(tmp_path / below, draw, rows)
    before = "/home/me/data/metashift/" if name == "metashift" else ""
    lines = [f"{n},{before}{image},{split},{y},{a}" for n, (image, y, a, split) in enumerate(rows)]
    path = write(tmp_path / f"metadata_{name}.csv", "id,filename,split,y,a", lines)
    dataset = load_dataset(config("subpopbench", tmp_path))
    assert dataset.classes == classes and dataset.attributes == attributes
    assert dataset.samples == load_dataset(config("subpopbench", path)).samples
    wanted = {image: (y, a, ("train", "val", "test")[split]) for image, y, a, split in rows}
    for row in dataset.samples.to_pylist():
        assert wanted[Path(row["image"]).name] == (row["label"], row["attribute"], row["split"])
    counted = any("published ones" in note for note in dataset.notes)
    assert counted == (name in ("waterbirds", "celeba"))
    assert any("absolute paths were found" in note for note in dataset.notes) == (name == "metashift")


def test_wilds_metadata_of_several_classes_with_a_chosen_attribute(tmp_path: Path, draw: Draw) -> None:
    """iWildCam's layout: images below train/, further splits, many columns."""
    lines, number = [], 0
    for split in ("train", "val", "test", "id_val", "id_test"):
        for y in (0, 2, 10):
            for _ in range(3):
                number += 1
                draw(tmp_path / "train" / f"{number}.jpg", seed=number)
                lines.append(f"{split},{number % 2},{y},{number}.jpg,more")
    write(tmp_path / "metadata.csv", "split,location,y,filename,else", lines)
    dataset = load_dataset(config("wilds", tmp_path, attribute="location"))
    assert dataset.classes == ("0", "2", "10") and dataset.attributes == ("0", "1")
    assert dataset.samples.num_rows == 27 and dataset.samples["image"][0].as_py().startswith("train/")
    assert list(dataset.notes) == [f"9 rows of the split '{name}' are passed over" for name in ("id_test", "id_val")]
    without = load_dataset(config("wilds", tmp_path))
    assert without.attributes == () and without.samples["attribute"].null_count == 27
    other = load_dataset(config("wilds", tmp_path, target="location", attribute="y"))
    assert other.classes == ("0", "1") and other.attributes == ("0", "2", "10")


def test_wilds_waterbirds_equals_the_waterbirds_source(tmp_path: Path, draw: Draw) -> None:
    rows = grid()
    pictures(tmp_path, draw, rows)
    lines = [f"{image},{y},{split},{a}" for image, y, a, split in rows]
    write(tmp_path / "metadata.csv", "img_filename,y,split,place", lines)
    assert load_dataset(config("wilds", tmp_path)).samples == load_dataset(config("waterbirds", tmp_path)).samples


BAD = {
    "no label": ("id,filename,split,a", "1,000001.jpg,0,0", r"lacks a label column \(y, label\); found: id, filename"),
    "no image": ("id,file,split,y,a", "1,000001.jpg,0,0,0", r"lacks an image column \(img_filename, filename,"),
    "split": ("filename,split,y,a", "000001.jpg,3,0,0", "line 2: split '3' is unknown: use 0"),
    "empty label": ("filename,split,y,a", "000001.jpg,0,,0", "line 2 has no y"),
    "empty path": ("filename,split,y,a", ",0,1,0", "line 2 has no filename"),
    "climbing": ("filename,split,y,a", "/x/../../etc/passwd,0,1,0", "line 2: '/x/.*' is not a path inside"),
    "rows": ("filename,split,y,a", "", "has a header but no rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_metadata(tmp_path: Path, draw: Draw, case: str) -> None:
    header, line, message = BAD[case]
    write(tmp_path / "metadata_x.csv", header, [line] if line else [])
    with pytest.raises(DataError, match=message):
        load_dataset(config("subpopbench", tmp_path))


def test_which_file_is_meant(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no metadata\.csv and no metadata_NAME\.csv$"):
        load_dataset(config("wilds", tmp_path))
    write(tmp_path / "inner" / "metadata.csv", "y", [])
    with pytest.raises(DataError, match=r"there is one in .*inner: set data\.root to it"):
        load_dataset(config("wilds", tmp_path))
    for name in ("a", "b"):
        write(tmp_path / f"metadata_{name}.csv", "y", [])
    with pytest.raises(DataError, match=r"holds metadata_a\.csv, metadata_b\.csv: set data\.root to the one"):
        load_dataset(config("wilds", tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(config("wilds", tmp_path / "gone"))
    write(tmp_path / "one" / "metadata.csv", "filename,y", ["a.jpg,1"])
    with pytest.raises(DataError, match="lacks the attribute column colour"):
        load_dataset(config("wilds", tmp_path / "one", attribute="colour"))


def test_missing_images_are_counted_and_the_first_five_named(tmp_path: Path, draw: Draw) -> None:
    rows = grid((9, 1, 1))
    pictures(tmp_path, draw, rows)
    for image, *_ in rows[:7]:
        (tmp_path / image).unlink()
    lines = [f"{image},{y},{split},{a}" for image, y, a, split in rows]
    write(tmp_path / "metadata.csv", "img_filename,y,split,place", lines)
    dataset = load_dataset(config("wilds", tmp_path))
    assert Counter(item.reason for item in dataset.quarantined) == {"the file does not exist": 7}
    assert [(item.path, item.row) for item in dataset.quarantined][0] == ("000001.jpg", 2)


@pytest.mark.slow
def test_a_metadata_file_that_somebody_else_made(shared_data: Path, tmp_path: Path, draw: Draw) -> None:
    """Other columns, other split sizes, absolute paths of a foreign machine; the images are drawn here."""
    text = (shared_data / "metadata" / "waterbirds_variant_metadata.csv").read_text()
    (tmp_path / "metadata.csv").write_text(text)
    drawn = [draw(tmp_path / f"{number}.jpg", seed=number) for number in range(4)]
    for number, line in enumerate(text.splitlines()[1:]):
        path = tmp_path / line.split(",")[1]
        path.parent.mkdir(exist_ok=True)
        path.hardlink_to(drawn[number % 4])
    dataset = load_dataset(config("waterbirds", tmp_path))
    found = {split: tuple(cells.values()) for split, cells in dataset.counts().items()}
    assert found == {
        "train": (2054, 109, 105, 1992),
        "val": (126, 127, 140, 139),
        "test": (123, 124, 144, 143),
    }
    assert not dataset.quarantined
    (note,) = dataset.notes
    assert "warning: group counts differ from the published ones of Waterbirds: train 2054/109/105/1992" in note
    # the same rows with every image path as the other machine wrote it
    header, *lines = text.splitlines()
    moved = [",".join([f"/mnt/me/{v}" if i == 1 else v for i, v in enumerate(line.split(","))]) for line in lines]
    (tmp_path / "metadata.csv").write_text("\n".join([header, *moved]) + "\n")
    again = load_dataset(config("waterbirds", tmp_path))
    assert again.samples == dataset.samples and "5326 absolute paths were found" in again.notes[0]
