"""The balanced data set: other libraries read it, and it holds what was kept."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ddb.config import DataConfig
from ddb.data import export
from ddb.data.export import export_balanced
from ddb.data.images import mask_png, png_bytes, read_image
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.records import CANDIDATES, MASKS, SCORES, VERDICTS, candidate_id

Draw = Callable[..., Path]
PAINTED = np.random.default_rng(9).integers(0, 256, (10, 12, 3), dtype=np.uint8)
MASK = np.arange(120).reshape(10, 12) % 3 == 0


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


def tables(dataset: Dataset) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """Two counterfactuals of the first training images, one of a validation image: the first and the last are kept."""
    train, val = dataset.split("train")["id"].to_pylist(), dataset.split("val")["id"].to_pylist()
    sources = [train[0], train[1], val[0]]
    good = {"status": "ok", "error": ""}
    ids = [candidate_id(source, 1, 0) for source in sources]
    candidates = [
        {"id": name, "source_id": source, "from_label": 0, "to_label": 1, "variant": 0, "seed": 2**40 + n}
        | {"image": png_bytes(PAINTED), "changed": mask_png(MASK), "prompt": "p", "model": "+model", **good}
        for n, (name, source) in enumerate(zip(ids, sources, strict=True))
    ]
    keep = dict(zip(ids, (True, False, True), strict=True))
    verdicts = [{"id": name, "keep": kept, "reason": "kept" if kept else "psi", **good} for name, kept in keep.items()]
    scores = [{"id": n, "psi_from": 0.25, "rho": -1.5, "exact": True, **good} for n in ids]
    masks = [{"id": s, "mask": mask_png(MASK), "area": 0.3, **good} for s in train[:3]]
    masks.append({"id": train[3], "status": "no_mask", "error": ""})
    made = ((candidates, CANDIDATES), (verdicts, VERDICTS), (scores, SCORES), (masks, MASKS))
    return tuple(pa.Table.from_pylist(rows, schema) for rows, schema in made)  # type: ignore[return-value]


def written(dataset: Dataset, out: Path) -> Path:
    return export_balanced(dataset, *tables(dataset), out)


def test_datasets_opens_it(dataset: Dataset, tmp_path: Path) -> None:
    from datasets import load_dataset as open_folder

    out = written(dataset, tmp_path / "balanced")
    opened = open_folder("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "hub"))
    assert list(opened) == ["train"]
    rows = opened["train"]
    train = dataset.split("train")
    assert rows.num_rows == train.num_rows + 1
    assert rows.features["label"].names == ["=cat()", "dog"] == list(dataset.classes)
    assert rows["label"] == [*train["label"].to_pylist(), 1]
    for row, name in zip(rows, train["image"].to_pylist(), strict=False):
        assert np.array_equal(np.asarray(row["image"]), read_image(dataset.root, name))
        assert not row["synthetic"] and row["original"] is None and row["psi"] is None
    made = rows[-1]
    assert made["synthetic"] and made["from_label"] == 0 and made["seed"] == 2**40
    assert (made["psi"], made["rho"], made["model"]) == (0.25, -1.5, "+model")
    assert np.array_equal(np.asarray(made["image"]), PAINTED)
    assert np.array_equal(np.asarray(made["original"]), np.asarray(rows[0]["image"]))
    assert np.array_equal(np.asarray(made["mask"]) > 127, MASK)
    assert [row["mask"] is not None for row in rows] == [True] * 3 + [False] * (train.num_rows - 3) + [True]


def test_datasets_opens_it_without_counterfactuals(dataset: Dataset, tmp_path: Path) -> None:
    from datasets import load_dataset as open_folder

    nothing = (schema.empty_table() for schema in (CANDIDATES, VERDICTS, SCORES, MASKS))
    out = export_balanced(dataset, *nothing, tmp_path / "balanced")
    rows = open_folder("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "hub"))["train"]
    assert rows.num_rows == dataset.split("train").num_rows
    assert rows[0]["original"] is None and rows[0]["mask"] is None


@pytest.mark.slow
def test_torchvision_reads_the_images(dataset: Dataset, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    images = ImageFolder(str(written(dataset, tmp_path / "balanced") / "train" / "images"))
    labels = dataset.split("train")["label"].to_pylist()
    assert sorted(images.targets) == sorted([*labels, 1])


def test_the_sheet_runs_nothing(dataset: Dataset, tmp_path: Path) -> None:
    out = written(dataset, tmp_path / "balanced")
    with (out / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["label"] == "'=cat()" and rows[-1]["label"] == "dog" and rows[-1]["from_label"] == "'=cat()"
    assert rows[-1]["model"] == "'+model" and float(rows[-1]["rho"]) == -1.5
    texts = [row[name] for row in rows for name in ("label", "id", "from_label", "model")]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@"))]
    assert all((out / row["file"]).is_file() for row in rows)


def test_written_again_it_is_the_same_bytes_and_holds_nothing_old(dataset: Dataset, tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    first = content(written(dataset, tmp_path / "balanced"))
    (tmp_path / "balanced" / "old.png").write_bytes(b"")
    assert content(written(dataset, tmp_path / "balanced")) == first


def test_a_full_disk_leaves_what_was_there(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(dataset, tmp_path / "balanced")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.pq, "write_table", full)
    with pytest.raises(DataError, match="balanced cannot be written: No space left"):
        written(dataset, tmp_path / "balanced")
    assert (tmp_path / "balanced" / "train" / "metadata.parquet").is_file()
    assert not list(tmp_path.glob(".balanced*"))


def test_an_original_that_broke_is_named(dataset: Dataset, tmp_path: Path) -> None:
    (dataset.root / "dog" / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"dog/5\.png changed since it was checked: the file is empty"):
        written(dataset, tmp_path / "balanced")
