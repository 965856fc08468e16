"""Hugging Face data sets on disk, written by the `datasets` library itself."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ddb.config import DataConfig
from ddb.data.images import png_bytes, read_image
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.errors import DataError

Draw = Callable[..., Path]
SIZES = {"train": 12, "validation": 4, "test": 4}
NAMES = ["hen", "ant"]  # not in the order of the alphabet: the order of the ClassLabel counts


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def rows(count: int, start: int, label: str = "label") -> dict[str, list[Any]]:
    numbers = range(start, start + count)
    return {
        "image": [Image.fromarray(pixels(n)) for n in numbers],
        label: [n % 2 for n in numbers],
        "place": [("lawn", "barn")[n // 2 % 2] for n in numbers],
        "number": list(numbers),
    }


def parts() -> dict[str, Any]:
    """The splits as `datasets` objects."""
    import datasets

    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=NAMES),
        place=datasets.Value("string"),
        number=datasets.Value("int64"),
    )
    starts = {"train": 0, "validation": 100, "test": 200}
    return {s: datasets.Dataset.from_dict(rows(n, starts[s]), features=features) for s, n in SIZES.items()}


def load(root: Path, cache: Path, **settings: Any) -> Dataset:
    return load_dataset(DataConfig.model_validate({"source": "huggingface", "root": str(root), **settings}), cache)


def check(dataset: Dataset) -> None:
    """The content of `parts`, row by row."""
    assert dataset.classes == tuple(NAMES) and dataset.attributes == ("barn", "lawn")
    starts = {"train": 0, "val": 100, "test": 200}
    for split, count in zip(starts, SIZES.values(), strict=True):
        samples = dataset.split(split).to_pylist()
        assert len(samples) == count
        for number, row in enumerate(samples, start=starts[split]):
            assert np.array_equal(read_image(dataset.root, row["image"]), pixels(number))
            assert row["label"] == number % 2
            assert dataset.attributes[row["attribute"]] == ("lawn", "barn")[number // 2 % 2]


@pytest.mark.parametrize("shards", [1, 3])
def test_saved_to_disk(tmp_path: Path, shards: int) -> None:
    import datasets

    datasets.DatasetDict(parts()).save_to_disk(tmp_path / "saved", num_shards=dict.fromkeys(SIZES, shards))
    dataset = load(tmp_path / "saved", tmp_path / "cache")
    check(dataset)
    assert dataset.root.parent == tmp_path / "cache" and "were unpacked into" in dataset.notes[0]


@pytest.mark.parametrize(
    "layout", ["data/{split}-0000{n}-of-00002.parquet", "{split}/000{n}.parquet", "x/{split}_{n}.parquet"]
)
def test_parquet_folders(tmp_path: Path, layout: str) -> None:
    for split, part in parts().items():
        for n in range(2):
            path = tmp_path / "hub" / layout.format(split=split, n=n)
            path.parent.mkdir(parents=True, exist_ok=True)
            part.shard(2, n, contiguous=True).to_parquet(path)
    check(load(tmp_path / "hub", tmp_path / "cache"))


def test_unpacked_once_and_anew_when_the_files_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub").mkdir()
    parts()["train"].to_parquet(tmp_path / "hub" / "train.parquet")
    first = load(tmp_path / "hub", tmp_path / "cache")
    files = sorted((tmp_path / "cache").rglob("*.png"))
    stamps = [path.stat().st_mtime_ns for path in files]
    assert load(tmp_path / "hub", tmp_path / "cache").fingerprint == first.fingerprint
    assert [path.stat().st_mtime_ns for path in files] == stamps and len(files) == 12
    parts()["train"].shuffle(seed=1).to_parquet(tmp_path / "hub" / "train.parquet")
    assert load(tmp_path / "hub", tmp_path / "cache").root != first.root
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    config = DataConfig(source="huggingface", root=str(tmp_path / "hub"))
    assert load_dataset(config).root.parent == tmp_path / "user" / "ddb"


def test_one_saved_split_without_a_name_is_split_by_seed(tmp_path: Path) -> None:
    parts()["train"].save_to_disk(tmp_path / "saved")
    dataset = load(tmp_path / "saved", tmp_path / "cache")
    assert {split: sum(cells.values()) for split, cells in dataset.counts().items()} == {
        "train": 8,
        "val": 2,
        "test": 2,
    }


def test_rows_with_secret_labels_are_passed_over(tmp_path: Path) -> None:
    """ImageNet's test split has the label -1 everywhere."""
    import datasets

    held = parts()
    secret = held["test"].to_dict() | {"label": [-1] * 4, "image": list(held["test"]["image"])}
    held["test"] = datasets.Dataset.from_dict(secret, features=held["train"].features)
    (tmp_path / "hub").mkdir()
    for split, part in held.items():
        part.to_parquet(tmp_path / "hub" / f"{split}-00000-of-00001.parquet")
    dataset = load(tmp_path / "hub", tmp_path / "cache")
    assert "4 rows have no label and are passed over" in dataset.notes
    assert any(
        note.startswith("the data has no test split: it is 20% of the training images") for note in dataset.notes
    )
    assert len(list((tmp_path / "cache").rglob("*.png"))) == 16


def test_parquet_without_the_librarys_notes(tmp_path: Path) -> None:
    """Plain bytes, words for labels, an attribute that the settings name; WebP and a broken image among them."""
    data = [png_bytes(pixels(n)) for n in range(12)]
    buffer = io.BytesIO()
    Image.fromarray(pixels(0)).save(buffer, "WEBP", lossless=True)
    data[0], data[1], data[2] = buffer.getvalue(), b"broken", None  # type: ignore[call-overload]
    columns = {"img": data, "kind": [("a", "b")[n % 2] for n in range(12)], "site": [n % 3 for n in range(12)]}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    dataset = load(tmp_path, tmp_path / "cache", target="kind", attribute="site")
    assert dataset.classes == ("a", "b") and dataset.attributes == ("0", "1", "2")
    assert np.array_equal(read_image(dataset.root, "train/00000001.webp"), pixels(0))
    assert sorted(item.reason for item in dataset.quarantined) == [
        "damaged, or not a JPEG, PNG or WebP image",
        "the file is empty",
    ]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "x": [1]}), tmp_path / "train.parquet")
    with pytest.raises(
        DataError,
        match=r"has no column of images and no label column label or .*; its columns are text \(string\), x \(int64\)",
    ):
        load(tmp_path, tmp_path / "cache")
    with pytest.raises(DataError, match=r"no attribute column colour \(data\.attribute\)"):
        load(tmp_path, tmp_path / "cache", attribute="colour")


def test_damaged_and_missing_shards(tmp_path: Path) -> None:
    part = parts()["train"]
    part.save_to_disk(tmp_path / "saved", num_shards=2)
    (path, other) = sorted((tmp_path / "saved").glob("*.arrow"))
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(DataError, match="00000-of-00002.arrow is damaged"):
        load(tmp_path / "saved", tmp_path / "cache")
    path.write_bytes(whole)
    other.unlink()
    with pytest.raises(DataError, match=r"names data-00001-of-00002\.arrow, which is not there"):
        load(tmp_path / "saved", tmp_path / "cache")
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../outside.arrow"}]
    (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="is not a path inside the data folder"):
        load(tmp_path / "saved", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*"))


def test_images_that_are_only_paths_are_refused(tmp_path: Path) -> None:
    image = pa.array(
        [{"bytes": None, "path": "/mnt/a.jpg"}] * 4, pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"image": image, "label": [0, 1, 0, 1]}), tmp_path / "train.parquet")
    with pytest.raises(
        DataError, match=r"row 1 holds only the path '/mnt/a\.jpg', not the image: save the data set with"
    ):
        load(tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("split", [True, False])
def test_imagefolders_are_read_in_place(tmp_path: Path, draw: Draw, kind: str, split: bool) -> None:
    root = tmp_path / "folder"
    for part in ("train", "validation", "test") if split else ("",):
        held = [{"file_name": f"img/{n}.png", "label": ("b", "a")[n % 2], "place": "xy"[n // 2 % 2]} for n in range(12)]
        for n, row in enumerate(held):
            draw(root / part / row["file_name"], seed=n + 50 * len(part))
        path = root / part / f"metadata.{kind}"
        if kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in held))
        elif kind == "csv":
            path.write_text("file_name,label,place\n" + "".join(",".join(row.values()) + "\n" for row in held))
        else:
            pq.write_table(pa.Table.from_pylist(held), path)
    dataset = load(root, tmp_path / "cache")
    assert dataset.root == root and dataset.classes == ("a", "b") and dataset.attributes == ("x", "y")
    counts = {name: sum(cells.values()) for name, cells in dataset.counts().items()}
    assert counts == ({"train": 12, "val": 12, "test": 12} if split else {"train": 8, "val": 2, "test": 2})
    assert all((row["label"] == 0) == (int(Path(row["image"]).stem) % 2 == 1) for row in dataset.samples.to_pylist())
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["files.parquet"]


def test_bad_imagefolders(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "a.png")
    lines = [
        '{"file_name": "a.png", "label": "x"}',
        "no json",
        '{"file_name": "b.png"}',
        '{"file_name": "../c.png", "label": "y"}',
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError) as error:
        load(tmp_path, tmp_path / "cache")
    text = str(error.value)
    for fault in ("line 2 is no JSON object", "line 3 has no label", "line 4: '../c.png' is not a path inside"):
        assert fault in text
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no Hugging Face data set"):
        load(tmp_path / "empty", tmp_path / "cache")


def lone(root: Path, name: str, image: pa.Array, **more: Any) -> None:
    """A Parquet file of eight rows, two classes in turns."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": image, "label": pa.array([n % 2 for n in range(8)]), **more}), path)


ENCODED = [png_bytes(pixels(n)) for n in range(8)]
WIDE = pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])
KINDS = {
    "binary": pa.array(ENCODED, pa.binary()),
    "large binary": pa.array(ENCODED, pa.large_binary()),
    "binary view": pa.array(ENCODED, pa.binary_view()),
    "struct": pa.array([{"bytes": d} for d in ENCODED], pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    "large struct": pa.array([{"bytes": data, "path": "x"} for data in ENCODED], WIDE),
    "struct of bytes": pa.array([{"bytes": data} for data in ENCODED], pa.struct([("bytes", pa.large_binary())])),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["folder", "file"])
def test_bytes_of_every_width_are_images(tmp_path: Path, kind: str, place: str) -> None:
    lone(tmp_path / "hub", "data.parquet", KINDS[kind])
    root = tmp_path / "hub" / "data.parquet" if place == "file" else tmp_path / "hub"
    for source in ("huggingface", "auto"):
        dataset = load(root, tmp_path / "cache", source=source)
        assert dataset.samples.num_rows == 8
        for row in dataset.samples.to_pylist():
            number = int(Path(row["image"]).stem) - 1
            assert np.array_equal(read_image(dataset.root, row["image"]), pixels(number))
            assert dataset.classes[row["label"]] == str(number % 2)
    with pytest.raises(DataError, match=r"holds images \(column image\), not paths: use --set data.source=huggingface"):
        load(tmp_path / "hub" / "data.parquet", tmp_path / "cache", source="table")


def test_columns_that_hold_no_images_are_named_with_their_types(tmp_path: Path) -> None:
    lone(tmp_path, "a.parquet", pa.array([[[1, 2], [3, 4]]] * 8))
    with pytest.raises(DataError, match=r"no column of images; its columns are image \(list<.*\), label \(int64\)"):
        load(tmp_path, tmp_path / "cache")
    lone(tmp_path, "a.parquet", KINDS["binary"], y=pa.array([[n % 2] for n in range(8)]))
    with pytest.raises(DataError, match=r"the label column y is of type list<.*: name one of single values"):
        load(tmp_path, tmp_path / "cache", target="y")


@pytest.mark.parametrize("layout", ["{config}/{split}-0.parquet", "{config}/{split}/0000.parquet"])
def test_two_configurations_are_refused_by_name(tmp_path: Path, layout: str) -> None:
    for config in ("cropped", "full"):
        for split in ("train", "test"):
            lone(tmp_path, layout.format(config=config, split=split), KINDS["binary"])
    for source in ("huggingface", "auto"):
        with pytest.raises(DataError, match=r"2 configurations: cropped, full\. Set data\.root .*/full\)"):
            load(tmp_path, tmp_path / "cache", source=source)
    dataset = load(tmp_path / "full", tmp_path / "cache")
    assert [dataset.split(split).num_rows for split in ("train", "val", "test")] == [6, 2, 8]


def test_configurations_of_a_card_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("a-train", "b-train", "b-test"):
        lone(tmp_path / "hub", f"data/{name}.parquet", KINDS["binary"])
    card = """---
configs:
- config_name: small
  data_files: data/a-*
- config_name: large
  data_files:
  - {split: train, path: data/b-train*}
  - {split: test, path: [data/b-test*]}
- config_name: elsewhere
  data_files: more/*
---
# A data set
"""
    (tmp_path / "hub" / "README.md").write_text(card)
    with pytest.raises(DataError, match=r"README\.md lists 2 configurations whose files are there: large, small"):
        load(tmp_path / "hub", tmp_path / "cache")
    (tmp_path / "hub" / "data" / "a-train.parquet").unlink()
    assert load(tmp_path / "hub", tmp_path / "cache").split("test").num_rows == 8
    for card in ("---\n{\n---\n", "---\nconfigs: 3\n---\n", "no header"):
        (tmp_path / "hub" / "README.md").write_text(card)
        assert load(tmp_path / "hub", tmp_path / "cache").split("test").num_rows == 8


def test_files_of_other_columns_are_refused_by_name(tmp_path: Path) -> None:
    lone(tmp_path, "train-0.parquet", KINDS["binary"])
    lone(tmp_path, "train-1.parquet", pa.array(["x"] * 8))
    with pytest.raises(DataError, match=r"train-0\.parquet has the column image, .*train-1\.parquet another one"):
        load(tmp_path, tmp_path / "cache")
    (tmp_path / "train-1.parquet").unlink()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "train-2.parquet")
    with pytest.raises(DataError, match=r"train-2\.parquet none: these are two data sets"):
        load(tmp_path, tmp_path / "cache")


def test_files_of_unknown_splits_go_nowhere(tmp_path: Path) -> None:
    """`datasets` leaves them out too."""
    for name in ("train", "test", "unsupervised"):
        lone(tmp_path, f"data/{name}-00000-of-00001.parquet", KINDS["binary"])
    dataset = load(tmp_path, tmp_path / "cache")
    assert dataset.samples.num_rows == 16
    assert any("1 files name no split" in note and "unsupervised" in note for note in dataset.notes)


def imagefolder(root: Path, draw: Draw, kind: str, layout: dict[str, int]) -> None:
    """Images by the folders (or beginnings of names) of `layout`, all told by one metadata file at the top."""
    held, number = [], 0
    for place, count in layout.items():
        for n in range(count):
            number += 1
            name = f"{place}{n}.png"
            draw(root / name, seed=number)
            held.append({"file_name": name, "label": "ab"[n % 2], "number": number})
    if kind == "jsonl":
        (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    elif kind == "csv":
        lines = [",".join(map(str, row.values())) for row in held]
        (root / "metadata.csv").write_text("\n".join(["file_name,label,number", *lines]))
    else:
        pq.write_table(pa.Table.from_pylist(held), root / "metadata.parquet")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("layout", [
    {"train/": 16, "test/": 12},
    {"train/": 16, "validation/": 4, "test/": 12},
    {"data/training/x/": 16, "data/eval/x/": 12},
    {"my train-set/": 16, "my test-set/": 12},
    {"images/train_": 16, "images/test_": 12},
    {"train/": 16, "test/": 12, "more/": 5},
])  # fmt: skip
def test_an_imagefolder_has_the_splits_that_datasets_finds(
    tmp_path: Path, draw: Draw, kind: str, layout: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One metadata file above the folders of the splits, read by `datasets` itself."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub-cache"))
    root = tmp_path / "pictures"
    imagefolder(root, draw, kind, layout)
    theirs = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(tmp_path / "hub-cache"))
    dataset = load(root, tmp_path / "cache")
    given = {"train": "train", "validation": "val", "test": "test"}
    rows = {}
    for split, part in theirs.items():
        images = part.cast_column("image", datasets.Image(decode=False))["image"]
        rows[split] = {Path(image["path"]).relative_to(root).as_posix() for image in images}
    own = {split: set(dataset.split(split)["id"].to_pylist()) for split in given.values()}
    if "validation" not in rows:  # ddb draws one from the training images
        own["train"], own["val"] = own["train"] | own["val"], set()
    assert own == {given[split]: rows.get(split, set()) for split in given}
    if "more/" in layout:
        assert any("5 images lie in no split's folder and are passed over" in note for note in dataset.notes)


def test_metadata_in_split_folders_of_any_name(tmp_path: Path, draw: Draw) -> None:
    for split, count in (("Training", 16), ("Testing", 12)):
        imagefolder(tmp_path / split, draw, "csv", {"": count})
    for source in ("huggingface", "auto"):
        dataset = load(tmp_path, tmp_path / "cache", source=source)
        assert dataset.split("train").num_rows + dataset.split("val").num_rows == 16
        assert {name.split("/")[0] for name in dataset.split("test")["id"].to_pylist()} == {"Testing"}
