"""The balanced data set: every reader gives its images the same labels and splits, and it holds what was kept."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from ddb.config import DataConfig
from ddb.data import balanced
from ddb.data.balanced import export_balanced
from ddb.data.class_folders import class_folders
from ddb.data.images import read_image
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.records import SAMPLES
from made_counterfactuals import Made, made

Draw = Callable[..., Path]
SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""ddb's splits and their names in `datasets`."""
ODD = (
    "CON", "a/b", "..", " .hidden", "\u0637\u064a\u0631", "\u9e1f", "\U0001f426\u200d\U0001f525", "e\u0301t\u00e9",
    "aux.txt", "test", "crash test", "train 1", "__pycache__", "[cat]*", "dog. ", "DOG", "dog", "a:b|c", "=cat()",
    "100%#?", "x" * 300, "masks",
)  # fmt: skip


@pytest.fixture
def dataset(folder: Path, draw: Draw) -> Dataset:
    (folder / "cat").rename(folder / "=cat()")  # a name that a spreadsheet would run
    draw(folder / "dog" / "grey.jpg", mode="L")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(folder / "dog" / "turned.png", seed=77, exif=exif)
    text = "path,label,split\n"
    for path in sorted(folder.rglob("*.*")):
        split = {"0": "val", "1": "test"}.get(path.stem, "train")
        text += f"{path.relative_to(folder).as_posix()},{path.parent.name},{split}\n"
    (folder / "list.csv").write_text(text)
    return load_dataset(DataConfig(source="table", root=str(folder / "list.csv")))


@pytest.fixture
def some(dataset: Dataset) -> Made:
    return made(dataset)


def of_classes(classes: Sequence[str], root: Path, draw: Draw) -> Dataset:
    """Three training images of every class, one for validation, two for testing; files that say nothing of it."""
    rows: list[dict[str, Any]] = []
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for label in range(len(classes)):
            for _ in range(count):
                name = f"{len(rows):03d}.png"
                draw(root / name, seed=len(rows))
                rows.append({"id": name, "image": name, "label": label, "split": split})
    return Dataset(root, pa.Table.from_pylist(rows, SAMPLES), tuple(classes), (), "thing", (), "f")


def opened(out: Path, cache: Path) -> Any:
    from datasets import load_dataset as open_folder

    return open_folder("imagefolder", data_dir=str(out), cache_dir=str(cache))


def truth(some: Made) -> dict[str, list[tuple[bytes, int]]]:
    """Split -> the pixels and label of every image that belongs there, in order."""
    found, data = some.counterfactuals, some.counterfactuals.dataset
    images = {
        split: [(read_image(data.root, s["image"]).tobytes(), s["label"]) for s in data.split(split).to_pylist()]
        for split in SPLITS
    }
    kept = np.flatnonzero(found.kept).tolist()
    images["train"] += [(some.images[found.ids[row]].tobytes(), int(found.to_labels[row])) for row in kept]
    return images


def pixels(image: Any) -> bytes:
    return np.asarray(image).tobytes()


@pytest.mark.parametrize(
    "classes",
    [("a", "b", "c"), tuple(f"class {n}" for n in range(12)), tuple(f"{n}" for n in range(12)), ("zebra", "ant"), ODD],
    ids=["three", "twelve", "numbers", "not by name", "odd names"],
)
def test_all_readers_agree(classes: tuple[str, ...], tmp_path: Path, draw: Draw) -> None:
    some = made(of_classes(classes, tmp_path / "d", draw))
    out = export_balanced(some.counterfactuals, tmp_path / "out" / "balanced")
    true = truth(some)
    of_datasets = opened(out, tmp_path / "hub")
    assert list(of_datasets) == list(SPLITS.values())
    own = {
        source: load_dataset(DataConfig(source=source, root=str(out)), tmp_path / source)
        for source in ("huggingface", "folder")
    }
    assert own["huggingface"].classes == classes == tuple(of_datasets["train"].features["label"].names)
    assert own["folder"].classes == tuple(class_folders(classes))
    for split, name in SPLITS.items():
        rows = of_datasets[name]
        assert [(pixels(row["image"]), row["label"]) for row in rows] == true[split]
        assert Counter((pixels(i), label) for i, label in ImageFolder(str(out / split))) == Counter(true[split])
        for data in own.values():
            mine = [(read_image(out, s["image"]).tobytes(), s["label"]) for s in data.split(split).to_pylist()]
            assert Counter(mine) == Counter(true[split])


def test_what_datasets_reads(some: Made, tmp_path: Path) -> None:
    found = some.counterfactuals
    out = export_balanced(found, tmp_path / "balanced")
    rows, train = opened(out, tmp_path / "hub")["train"], found.dataset.split("train")
    for row in rows.select(range(len(train))):
        assert not row["synthetic"] and row["original"] is None and row["psi"] is None and row["from_label"] is None
    mask = {row["id"]: row["mask_path"] for row in rows}
    assert all(np.asarray(Image.open(out / mask[name])).all() for name in train["id"].to_pylist()[:-1])
    assert mask[train["id"][-1].as_py()] is None  # status no_mask
    by_id = {row["id"]: row for row in rows}
    kept = [found.ids[row] for row in np.flatnonzero(found.kept)]
    assert rows["id"] == [*train["id"].to_pylist(), *kept]
    for name in kept:
        row, place = by_id[name], found.ids.index(name)
        assert row["synthetic"] and (row["psi"], row["rho"], row["model"]) == (0.25, -1.5, "+model")
        assert (row["from_label"], row["seed"]) == (found.from_labels[place], 2**40 + place)
        assert pixels(row["original"]) == pixels(by_id[found.source_ids[place]]["image"])
        changed = np.asarray(Image.open(out / row["mask_path"])) > 127
        assert np.array_equal(changed, some.changed[name])  # not the whole region that was to be repainted


def test_masks_are_no_class_and_no_split(some: Made, tmp_path: Path) -> None:
    out = export_balanced(some.counterfactuals, tmp_path / "balanced")
    assert {path.name for path in out.iterdir()} == {*SPLITS, "masks", "samples.csv", "README.md"}
    for split in SPLITS:
        assert {path.name for path in (out / split).iterdir()} == {"=cat()", "dog", "metadata.parquet"}
    written = {path.relative_to(out).as_posix() for path in (out / "masks").rglob("*.png")}
    listed = {
        row["mask_path"] for split in SPLITS for row in pq.read_table(out / split / "metadata.parquet").to_pylist()
    }
    assert written == listed - {None}


def test_without_counterfactuals(dataset: Dataset, tmp_path: Path) -> None:
    some = made(dataset, keep=(False,))
    some.tables.tables["segment"] = some.tables.tables["segment"].slice(0, 0)
    out = export_balanced(some.counterfactuals, tmp_path / "balanced")
    rows = opened(out, tmp_path / "hub")["train"]
    assert rows.num_rows == dataset.split("train").num_rows
    assert rows[0]["original"] is None and rows[0]["mask_path"] is None and not (out / "masks").exists()


def test_counterfactuals_of_validation_images_stay_out(dataset: Dataset, tmp_path: Path) -> None:
    out = export_balanced(made(dataset, split="val").counterfactuals, tmp_path / "balanced")
    assert not any(any(pq.read_table(out / split / "metadata.parquet")["synthetic"].to_pylist()) for split in SPLITS)


def test_metadata_is_written_in_pieces(some: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balanced, "ROWS", 5)
    out = export_balanced(some.counterfactuals, tmp_path / "balanced")
    file = pq.ParquetFile(out / "train" / "metadata.parquet")
    assert file.num_row_groups > 3 and max(file.metadata.row_group(n).num_rows for n in range(3)) == 5
    assert [(pixels(row["image"]), row["label"]) for row in opened(out, tmp_path / "hub")["train"]] == truth(some)[
        "train"
    ]


def test_originals_are_copies(some: Made, tmp_path: Path) -> None:
    out = export_balanced(some.counterfactuals, tmp_path / "balanced")
    assert all(path.stat().st_nlink == 1 and not path.is_symlink() for path in out.rglob("*.*"))


def test_the_sheet_runs_nothing(some: Made, tmp_path: Path) -> None:
    out = export_balanced(some.counterfactuals, tmp_path / "balanced")
    with (out / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(map(len, truth(some).values()))
    made_rows = [row for row in rows if row["synthetic"] == "1"]
    assert {row["label"] for row in made_rows} == {"'=cat()", "dog"} and made_rows[0]["from_label"] == "'=cat()"
    assert made_rows[0]["model"] == "'+model" and float(made_rows[0]["rho"]) == -1.5
    texts = [row[name] for row in rows for name in ("label", "id", "from_label", "model")]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@"))]
    assert all((out / row["file"]).is_file() for row in rows)


def test_written_again_it_is_the_same_bytes_and_holds_nothing_old(some: Made, tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    first = content(export_balanced(some.counterfactuals, tmp_path / "balanced"))
    (tmp_path / "balanced" / "old.png").write_bytes(b"")
    assert content(export_balanced(some.counterfactuals, tmp_path / "balanced")) == first


def test_a_full_disk_leaves_what_was_there(some: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_balanced(some.counterfactuals, tmp_path / "balanced")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(balanced.pq, "ParquetWriter", full)
    with pytest.raises(DataError, match="balanced cannot be written: No space left"):
        export_balanced(some.counterfactuals, tmp_path / "balanced")
    assert (tmp_path / "balanced" / "train" / "metadata.parquet").is_file()
    assert not list(tmp_path.glob(".balanced*"))


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "changed since it was checked: the file is empty"), (None, "No such")]
)
def test_an_original_that_broke_is_named(some: Made, tmp_path: Path, content: bytes | None, words: str) -> None:
    path = some.counterfactuals.dataset.root / "dog" / "1.png"  # a test image
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(DataError, match=rf"dog/1\.png:? {words}"):
        export_balanced(some.counterfactuals, tmp_path / "balanced")
    assert not [item.name for item in tmp_path.iterdir() if "balanced" in item.name]


def test_a_source_that_changed_is_named(some: Made, tmp_path: Path, draw: Draw) -> None:
    draw(some.counterfactuals.dataset.root / "dog" / "5.png", seed=999)
    with pytest.raises(DataError, match=r"dog/5\.png has changed since counterfactuals were painted on it"):
        export_balanced(some.counterfactuals, tmp_path / "balanced")
    assert not [item.name for item in tmp_path.iterdir() if "balanced" in item.name]


def test_the_readme_says_which_folder_is_which_class(tmp_path: Path, draw: Draw) -> None:
    some = made(of_classes(("b|c", "ant"), tmp_path / "d", draw))
    text = (export_balanced(some.counterfactuals, tmp_path / "balanced") / "README.md").read_text("utf-8")
    assert "| 0 | b\\|c | `0-b_c` |" in text and "| 1 | ant | `1-ant` |" in text


# Names of folders


def test_folders_have_the_names_of_the_classes_where_these_are_safe_and_in_order() -> None:
    names = ["ant", "dog", "e\u0301t\u00e9", "\u0637\u064a\u0631", "\u9e1f", "\U0001f426"]
    assert class_folders(names) == names
    assert class_folders(["zebra", "ant"]) == ["0-zebra", "1-ant"]
    assert class_folders(["Dog", "dog"]) == ["0-Dog", "1-dog"]
    assert class_folders(["\u00e9", "e\u0301"]) == ["0-\u00e9", "1-e\u0301"]
    assert class_folders([str(n) for n in range(12)])[1:11:9] == ["01-1", "10-10"]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("CON", "_CON"), ("con.txt", "_con.txt"), ("lpt1", "_lpt1"), ("console", "console"), ("a/b\\c", "a_b_c"),
        ("..", "_"), (" .hidden", "_hidden"), ("__init__", "_init__"), ("dog. ", "dog_"), ("", "_"),
        ("a\nb\0", "a_b_"), ("x" * 300, "x" * 120), ("\u9e1f" * 100, "\u9e1f" * 40), ("_private", "_private"),
    ],
)  # fmt: skip
def test_safe_names(name: str, folder: str) -> None:
    assert class_folders([name]) == [folder]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",)), max_size=40) | st.sampled_from(ODD), min_size=2, unique=True
    )
)
def test_folders_are_safe_unique_and_sorted(names: list[str]) -> None:
    folders = class_folders(names)
    assert sorted(folders) == folders and len(folders) == len(names)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in folders}) == len(names)
    for name in folders:
        assert 0 < len(name.encode()) < 200 and name == name.strip() and name not in (".", "..")
        assert not name.startswith((".", "__")) and not name.endswith((".", " "))
        assert not set(name) & set('<>:"/\\|?*') and all(letter >= " " for letter in name)
        assert name.split(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
