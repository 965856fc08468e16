"""Sources: what a good data set becomes, and what is said about a bad one."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ddb.config import DataConfig
from ddb.data.sources.load import load_dataset
from ddb.errors import DataError
from ddb.records import SAMPLES

Draw = Callable[..., Path]


def sizes(dataset: object) -> dict[str, int]:
    return {split: sum(cells.values()) for split, cells in dataset.counts().items()}  # type: ignore[attr-defined]


def splits_by_id(config: DataConfig) -> dict[str, str]:
    samples = load_dataset(config).samples
    return dict(zip(samples["id"].to_pylist(), samples["split"].to_pylist(), strict=True))


# Folders


def test_class_folders_are_split_by_seed(folder: Path) -> None:
    dataset = load_dataset(DataConfig(root=str(folder), phrase="animal"))
    assert dataset.classes == ("cat", "dog") and dataset.attributes == () and dataset.phrase == "animal"
    assert dataset.samples.schema == SAMPLES
    assert sizes(dataset) == {"train": 12, "val": 4, "test": 4}  # of 10 a class: 15% and 20%, rounded
    assert dataset.samples["split"].to_pylist() == ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    assert all((row["label"] == 1) == row["image"].startswith("dog/") for row in dataset.samples.to_pylist())
    assert set(dataset.samples["attribute"].to_pylist()) == {None}
    config = DataConfig(root=str(folder))
    assert splits_by_id(config) == splits_by_id(config)
    assert splits_by_id(config) != splits_by_id(config.model_copy(update={"split_seed": 1}))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_split_folders_are_kept_and_the_missing_one_is_made(folder: Path, draw: Draw, name: str) -> None:
    root = folder.parent / "split"
    shutil.move(folder, root / "train")
    for label in ("cat", "dog"):
        draw(root / name / label / "deep" / "x.png", seed=len(label))
    dataset = load_dataset(DataConfig(root=str(root)))
    assert sizes(dataset) == {"train": 16, "val": 2, "test": 4}
    assert dataset.split("val")["id"].to_pylist() == [f"{name}/cat/deep/x.png", f"{name}/dog/deep/x.png"]


def test_chosen_classes_in_their_order(folder: Path, draw: Draw) -> None:
    for number in range(5):
        draw(folder / "ant" / f"{number}.png", seed=number)
    (folder / "unused and empty").mkdir()
    dataset = load_dataset(DataConfig(root=str(folder), classes=("dog", "ant")))
    assert dataset.classes == ("dog", "ant")
    labels = {row["image"].split("/")[0]: row["label"] for row in dataset.samples.to_pylist()}
    assert labels == {"dog": 0, "ant": 1}


def test_three_classes_and_names_of_numbers_in_order(tmp_path: Path, draw: Draw) -> None:
    for name in ("10", "9", "2"):
        for number in range(4):
            draw(tmp_path / "t" / name / f"{number}.png", seed=number + 10 * int(name))
    rows = "".join(f"{n}/{i}.png,{n}\n" for n in ("10", "9", "2") for i in range(4))
    (tmp_path / "t" / "list.csv").write_text("path,label\n" + rows)
    assert load_dataset(DataConfig(source="table", root=str(tmp_path / "t" / "list.csv"))).classes == ("2", "9", "10")


def test_broken_files_are_quarantined_and_the_rest_go_on(folder: Path, draw: Draw) -> None:
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    (folder / "cat" / "page.png").write_bytes(b"<html>")
    whole = (folder / "dog" / "1.png").read_bytes()
    (folder / "dog" / "half.png").write_bytes(whole[: len(whole) // 2])
    draw(folder / "dog" / "old.gif", mode="P")
    draw(folder / "stray.png")
    draw(folder / "dog" / ".hidden.png")
    (folder / "dog" / "notes.txt").write_text("not an image, not a fault")
    dataset = load_dataset(DataConfig(root=str(folder)))
    assert dataset.samples.num_rows == 20
    reasons = {item.path: item.reason for item in dataset.quarantined}
    assert set(reasons) == {"cat/empty.jpg", "cat/page.png", "dog/half.png", "dog/old.gif", "stray.png"}
    assert "empty" in reasons["cat/empty.jpg"] and "damaged" in reasons["dog/half.png"]
    assert "no class folder" in reasons["stray.png"] and "not a JPEG" in reasons["dog/old.gif"]


def test_real_photographs_of_six_classes(shared_data: Path, tmp_path: Path) -> None:
    dataset = load_dataset(DataConfig(root=str(shared_data / "scenes")), tmp_path)
    assert len(dataset.classes) == 6 and not dataset.quarantined
    assert sizes(dataset) == {"train": 204, "val": 36, "test": 90}


# Tables


def table(folder: Path, text: str, name: str = "list.csv", encoding: str = "utf-8") -> DataConfig:
    (folder / name).write_text(text, encoding=encoding)
    return DataConfig(source="table", root=str(folder / name))


def rows(count: int = 8, extra: str = "") -> str:
    return "".join(f"{name}/{n}.png,{name}{extra}\n" for name in ("cat", "dog") for n in range(count))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_with_and_without_a_byte_order_mark(folder: Path, encoding: str) -> None:
    dataset = load_dataset(table(folder, "path,label\n" + rows(), encoding=encoding))
    assert dataset.classes == ("cat", "dog") and dataset.samples.num_rows == 16


def test_csv_with_attributes_splits_and_other_columns(folder: Path) -> None:
    text = "note,label,attribute,split,path\n"
    for name in ("cat", "dog"):
        for n, split in enumerate(["train", "train", "Train", "valid", "test", "test"]):
            text += f'"a, b",{name},{"sofa" if n % 2 else ""},{split},.\\{name}\\{n}.png\n'
    dataset = load_dataset(table(folder, text))
    assert dataset.attributes == ("sofa",) and sizes(dataset) == {"train": 6, "val": 2, "test": 4}
    first = dataset.samples.to_pylist()[:2]
    assert [row["image"] for row in first] == ["cat/0.png", "cat/1.png"]
    assert [row["attribute"] for row in first] == [None, 0]


def test_parquet_gives_the_same_as_csv(folder: Path) -> None:
    config = table(folder, "path,label\n" + rows())
    paths = [f"{name}/{n}.png" for name in ("cat", "dog") for n in range(8)]
    columns = {"path": paths, "label": [path[:3] for path in paths], "size": [1.5] * 16}
    pq.write_table(pa.table(columns), folder / "list.parquet")
    other = load_dataset(DataConfig(source="table", root=str(folder / "list.parquet")))
    assert other.samples == load_dataset(config).samples
    assert other.fingerprint == load_dataset(config).fingerprint


BAD_TABLES = {
    "no header": (rows(), r"line 1: no column path, label; found: cat/0\.png, cat.*needs a header line: path,label"),
    "no rows": ("path,label\n", "has a header but no rows"),
    "empty file": ("", "line 1: no column path, label; found: nothing"),
    "semicolons": ("path;label\n" + rows().replace(",", ";"), "found: path;label"),
    "short row": ("path,label\n" + rows() + "cat/9.png\n", "line 18 has 1 values, the header 2"),
    "no label": ("path,label\n" + rows() + "cat/9.png,\n", "line 18 has no label"),
    "twice": ("path,label\n" + rows() + "./cat/3.png,cat\n", r"line 18: image 'cat/3\.png' .* twice, before in line 5"),
    "column twice": ("path,label,label\n" + rows(extra=",x"), "column label stands there twice"),
    "unknown splits": ("path,label,split\n" + rows(extra=",trial"), "16 rows of the split 'trial' are passed over"),
    "empty split": ("path,label,split\n" + rows(extra=","), "line 2 has no split: use train, val"),
    "one class": ("path,label\n" + rows()[: rows().index("dog")], r"only one class \('cat'\)"),
    "one image": ("path,label\n" + rows() + "cat/9.png,fox\n", "class 'fox' has too few usable images: 1 train"),
    "absolute": ("path,label\n" + rows() + "/etc/passwd.png,cat\n", "line 18: '/etc/passwd.png' is not a path inside"),
    "zero byte": ("path,label\n" + rows() + "\0.png,cat\n", r"line 18: '\\x00\.png' is not a file name"),
    "climbing": ("path,label\n" + rows() + "../x.png,cat\n", r"line 18: '\.\./x\.png' is not a path inside"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_with_line_and_remedy(folder: Path, case: str) -> None:
    text, message = BAD_TABLES[case]
    with pytest.raises(DataError, match=message) as error:
        load_dataset(table(folder, text))
    assert "list.csv" in str(error.value)


def test_files_that_are_no_tables(folder: Path) -> None:
    for name, content in (("list.csv", b"\xff\xfe\x00p"), ("list.parquet", b"path,label"), ("list.xlsx", b"")):
        (folder / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            load_dataset(DataConfig(source="table", root=str(folder / name)))


def test_rows_without_a_file_are_quarantined_with_their_line(folder: Path) -> None:
    dataset = load_dataset(table(folder, "path,label\n" + rows() + "cat/77.png,cat\n"))
    assert [(q.path, q.row, q.reason) for q in dataset.quarantined] == [("cat/77.png", 18, "the file does not exist")]


def test_linked_files_and_folders_that_lead_out_are_refused(folder: Path, draw: Draw) -> None:
    outside = draw(folder.parent / "outside" / "x.png")
    (folder / "cat" / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"'cat/link\.png' leads out of the data folder"):
        load_dataset(DataConfig(root=str(folder)))
    (folder / "cat" / "link.png").unlink()
    (folder / "fox").symlink_to(outside.parent)
    with pytest.raises(DataError, match="folder 'fox' is a link"):
        load_dataset(DataConfig(root=str(folder)))


# Faults of the whole


def test_missing_and_empty_folders(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "file.csv").write_text("path,label\n")
    for source in ("folder", "waterbirds"):
        with pytest.raises(DataError, match="does not exist"):
            load_dataset(DataConfig(source=source, root=str(tmp_path / "gone")))
        with pytest.raises(DataError, match=r"data\.root is empty"):
            load_dataset(DataConfig(source=source))
        with pytest.raises(DataError, match="data.source: table"):
            load_dataset(DataConfig(source=source, root=str(tmp_path / "file.csv")))
    with pytest.raises(DataError, match="no class folders"):
        load_dataset(DataConfig(root=str(tmp_path / "nothing")))
    with pytest.raises(DataError, match="data.source: folder"):
        load_dataset(DataConfig(source="table", root=str(folder)))
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(DataConfig(source="table", root=str(tmp_path / "gone.csv")))
    with pytest.raises(DataError, match=r"data\.root is empty"):
        load_dataset(DataConfig(source="table"))


def test_all_faults_are_told_at_once(folder: Path, draw: Draw) -> None:
    root = folder.parent / "split"
    shutil.move(folder, root / "train")
    draw(root / "trial" / "cat" / "1.png")
    (root / "train" / "fox").mkdir()
    draw(root / "train" / "owl" / "1.png", seed=5)
    with pytest.raises(DataError) as error:
        load_dataset(DataConfig(root=str(root)))
    text = str(error.value)
    assert "2 faults" in text and "note: folder 'trial' (1 images) beside 'train' has no split's name" in text
    assert "class 'fox' has too few usable images: 0 train" in text and "class 'owl'" in text


def test_masks_beside_the_splits_are_no_split(folder: Path, draw: Draw) -> None:
    root = folder.parent / "split"
    shutil.move(folder, root / "train")
    before = load_dataset(DataConfig(root=str(root)))
    draw(root / "masks" / "train" / "cat" / "1.png")
    after = load_dataset(DataConfig(root=str(root)))
    assert after.fingerprint == before.fingerprint and not after.quarantined


def test_many_faults_are_cut_after_five(folder: Path) -> None:
    bad = "".join(f"../{n}.png,cat\n" for n in range(12))
    with pytest.raises(DataError, match="12 faults") as error:
        load_dataset(table(folder, "path,label\n" + rows() + bad))
    assert len(str(error.value).splitlines()) == 7 and "and 7 more" in str(error.value)


def test_a_class_emptied_by_quarantine_names_a_file(folder: Path) -> None:
    for path in list((folder / "cat").iterdir())[:9]:
        path.write_bytes(b"")
    with pytest.raises(
        DataError,
        match=r"class 'cat' has too few .*9 files cannot be used .*cat/0.png \(the file is empty\), .*and 4 more",
    ):
        load_dataset(DataConfig(root=str(folder)))


def test_unknown_and_repeated_classes(folder: Path) -> None:
    with pytest.raises(DataError, match="class 'dgo' is unknown; did you mean 'dog'"):
        load_dataset(DataConfig(root=str(folder), classes=("cat", "dgo")))
    for classes in (("cat", "cat"), ("cat",)):  # refused by the settings already
        with pytest.raises(ValidationError, match="two classes or more, each once"):
            DataConfig(root=str(folder), classes=classes)


def test_a_class_missing_from_a_given_split(folder: Path, draw: Draw) -> None:
    root = folder.parent / "split"
    shutil.move(folder, root / "train")
    draw(root / "val" / "cat" / "x.png")
    with pytest.raises(DataError, match="class 'dog' has too few usable images: 8 train, 0 val, 2 test"):
        load_dataset(DataConfig(root=str(root)))


def test_a_class_with_too_few_images_names_the_shares(folder: Path, draw: Draw) -> None:
    """Of three images two are kept for training, and there are two splits to draw."""
    for number in range(3):
        draw(folder / "fox" / f"{number}.png", seed=500 + number)
    with pytest.raises(DataError) as error:
        load_dataset(DataConfig(root=str(folder), test_share=0.3))
    text = str(error.value)
    assert "class 'fox' has too few usable images: 2 train, 0 val, 1 test; needs 2 train, 1 val, 1 test" in text
    assert "leave classes out (data.classes) or change data.test_share 0.3, data.val_share 0.15" in text
    assert load_dataset(DataConfig(root=str(folder), classes=("cat", "dog"))).samples.num_rows == 20
    draw(folder / "fox" / "3.png", seed=504)
    assert sizes(load_dataset(DataConfig(root=str(folder)))) == {"train": 14, "val": 5, "test": 5}


def test_the_hash_of_each_samples_file(folder: Path) -> None:
    dataset = load_dataset(DataConfig(root=str(folder)))
    for name in dataset.samples["id"].to_pylist():
        assert dataset.sha256(name) == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert dataset.without_attributes().sha256("cat/1.png") == dataset.sha256("cat/1.png")
    with pytest.raises(KeyError):
        dataset.sha256("cat/none.png")


def test_the_phrase_is_no_part_of_the_data(folder: Path) -> None:
    one, other = (load_dataset(DataConfig(root=str(folder), phrase=phrase)) for phrase in ("pet", "animal"))
    assert one.fingerprint == other.fingerprint and one.phrase != other.phrase
    assert one.without_attributes().fingerprint == other.without_attributes().fingerprint


@pytest.mark.parametrize("source", ["folder", "table", "auto", "waterbirds", "huggingface"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ".zip", ".pkl", ".png"])
def test_files_that_are_no_data_are_named_as_what_they_are(tmp_path: Path, source: str, suffix: str) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"x")
    what = {".zip": "an archive", ".pkl": "a pickle", ".png": "one image"}.get(suffix, "a file of model weights")
    with pytest.raises(DataError, match=rf"model\{suffix} is {what}"):
        load_dataset(DataConfig.model_validate({"source": source, "root": str(tmp_path / f"model{suffix}")}))


def test_splits_of_a_table_by_all_usual_names(folder: Path) -> None:
    names = ("Training", "training", "dev", "Holdout", "trial")
    text = "path,label,split\n" + "".join(f"{c}/{n}.png,{c},{names[n]}\n" for c in ("cat", "dog") for n in range(5))
    dataset = load_dataset(table(folder, text))
    assert sizes(dataset) == {"train": 4, "val": 2, "test": 2}
    assert dataset.notes == ("2 rows of the split 'trial' are passed over",)
