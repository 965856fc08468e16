"""CelebA (Liu et al. 2015): any of its 40 attributes as the label and any other as the spurious attribute.

    ROOT/img_align_celeba/000001.jpg         (or the images in ROOT itself)
    ROOT/list_attr_celeba.csv | .txt         40 attributes, -1/1 as published, 0/1 as some copies write them
    ROOT/list_eval_partition.csv | .txt      0 train, 1 val, 2 test

Kaggle's CSV files have the columns image_id and partition; the published .txt files have none (attributes: the number
of images, the names, then the rows). JTT and DaC merge both into one file (`metadata.csv`, `celeba_split.csv`) with
image_id, the attributes and split; DFR's `metadata.csv` has img_filename, y (blond), place (male) and split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ddb.data.sources.layout.listing import Entry, Listing, existing_folder
from ddb.data.sources.layout.locate import located
from ddb.data.sources.metadata_file import MetadataRow, column_names, read_metadata
from ddb.errors import DataError

TARGET, ATTRIBUTE = "Blond_Hair", "Male"
ATTRIBUTES = ("list_attr_celeba.csv", "list_attr_celeba.txt")
PARTITIONS = ("list_eval_partition.csv", "list_eval_partition.txt")
MERGED = ("metadata.csv", "celeba_split.csv", "celeba_metadata.csv")
FOLDERS = ("img_align_celeba", "img_align_celeba/img_align_celeba")  # Kaggle's archive nests it
_SPLITS = {"0": "train", "1": "val", "2": "test"}
_NAMES = {"Male": ("female", "male"), "Blond_Hair": ("not blond", "blond")}
_DFR = {TARGET: "y", ATTRIBUTE: "place"}


def list_celeba(root: str, target: str = "", attribute: str = "") -> Listing:
    """Every image with its value of `target` (default Blond_Hair) and `attribute` (default Male)."""
    folder = existing_folder(root)
    target, attribute = target or TARGET, attribute or ATTRIBUTE
    if target == attribute:
        raise DataError(f"data.target and data.attribute are both {target!r}: name two attributes")
    rows, where, faults = _rows(folder, target, attribute)
    labels, attributes = _Coding(target, rows, faults), _Coding(attribute, rows, faults)
    paths, notes = located(folder, [row.values["image"] for row in rows], FOLDERS)
    entries = []
    for row, path in zip(rows, paths, strict=True):
        split = _SPLITS.get(row.values["split"].strip())
        if not path:
            faults.append(f"line {row.line} names no image")
        elif split is None:
            faults.append(f"line {row.line}: split {row.values['split']!r} is unknown: use 0, 1 or 2")
        elif (label := labels.name(row)) is not None and (other := attributes.name(row)) is not None:
            entries.append(Entry(path, label, other, split, row.line))
    known = (target, attribute) == (TARGET, ATTRIBUTE)
    return Listing(
        folder,
        str(where),
        entries,
        faults,
        labels.names,
        attributes.names,
        notes=tuple(notes),
        benchmark="celeba" if known else "",
    )


class _Coding:
    """The coding of an attribute, -1/1 or 0/1, as used in the file. A fault is added for every other value, and where
    both codings occur."""

    def __init__(self, attribute: str, rows: Sequence[MetadataRow], faults: list[str]) -> None:
        plain = attribute.replace("_", " ").lower()
        self.attribute, self.faults = attribute, faults
        self.names = _NAMES.get(attribute, (f"not {plain}", plain))
        self.codes = {"-1": self.names[0], "0": self.names[0], "1": self.names[1]}
        found = {row.values[attribute].strip() for row in rows}
        if {"-1", "0"} <= found:
            faults.append(f"{attribute} has both -1 and 0: it should be coded -1/1 or 0/1 throughout")

    def name(self, row: MetadataRow) -> str | None:
        value = row.values[self.attribute].strip()
        if value not in self.codes:
            self.faults.append(f"line {row.line}: {self.attribute} {value!r} is unknown: use -1 or 0, and 1")
        return self.codes.get(value)


def _rows(folder: Path, target: str, attribute: str) -> tuple[list[MetadataRow], Path, list[str]]:
    """Rows with the values image, split, and one for each attribute; the file with the rows; faults."""
    lists = next((folder / name for name in ATTRIBUTES if (folder / name).is_file()), None)
    merged = next((folder / name for name in MERGED if (folder / name).is_file()), None)
    if lists is not None:
        return _from_lists(folder, lists, target, attribute)
    if merged is not None:
        return _from_merged(merged, target, attribute)
    below = sorted(path.parent for name in ATTRIBUTES for path in folder.glob(f"*/{name}"))
    hint = f"; there is one in {below[0]}: set data.root to it" if below else ""
    raise DataError(f"{folder} holds no {' or '.join(ATTRIBUTES)}{hint}")


def _from_lists(folder: Path, lists: Path, target: str, attribute: str) -> tuple[list[MetadataRow], Path, list[str]]:
    partition = next((folder / name for name in PARTITIONS if (folder / name).is_file()), None)
    if partition is None:
        raise DataError(f"{folder} holds no {' or '.join(PARTITIONS)}: the splits of CelebA are in it")
    splits, faults = _read_splits(partition)
    rows, more = _read_attributes(lists, target, attribute)
    faults += more
    without = [row for row in rows if row.values["image"] not in splits]
    if without:
        first = ", ".join(f"{row.values['image']} (line {row.line})" for row in without[:5])
        faults.append(f"{len(without)} images are not in {partition.name}: {first}")
    joined = [
        MetadataRow(row.line, row.values | {"split": splits[row.values["image"]]})
        for row in rows
        if row.values["image"] in splits
    ]
    return joined, lists, faults


def _read_attributes(path: Path, target: str, attribute: str) -> tuple[list[MetadataRow], list[str]]:
    if path.suffix == ".csv":
        _check_known(path, [name for name in column_names(path) if name != "image_id"], target, attribute)
        rows, faults = read_metadata(path, ("image_id", target, attribute), ())
        return [MetadataRow(row.line, row.values | {"image": row.values["image_id"].strip()}) for row in rows], faults
    lines = _text_lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    _check_known(path, names, target, attribute)
    columns = {name: names.index(name) + 1 for name in (target, attribute)}
    rows, faults = [], []
    for number, line in enumerate(lines[2:], start=3):
        values = line.split()
        if len(values) == len(names) + 1:
            chosen = {name: values[column] for name, column in columns.items()}
            rows.append(MetadataRow(number, {"image": values[0], **chosen}))
        elif values:
            faults.append(f"line {number} has {len(values)} values, the header {len(names)} and the image")
    if lines[0].strip().isdecimal() and int(lines[0]) != len(rows) + len(faults):
        faults.append(f"line 1 says {int(lines[0])} images, there are {len(rows) + len(faults)}: the file is cut off")
    return rows, faults


def _read_splits(path: Path) -> tuple[dict[str, str], list[str]]:
    if path.suffix == ".csv":
        rows, faults = read_metadata(path, ("image_id", "partition"), ())
        return {row.values["image_id"].strip(): row.values["partition"] for row in rows}, faults
    pairs, faults = {}, []
    for number, line in enumerate(_text_lines(path), start=1):
        values = line.split()
        if len(values) == 2:
            pairs[values[0]] = values[1]
        elif values:
            faults.append(f"{path.name} line {number} has {len(values)} values: it should be an image and 0, 1 or 2")
    return pairs, faults


def _from_merged(path: Path, target: str, attribute: str) -> tuple[list[MetadataRow], Path, list[str]]:
    names = column_names(path)
    image = "image_id" if "image_id" in names else "img_filename"
    columns = {name: name if name in names else _DFR.get(name, name) for name in (target, attribute)}
    if columns[target] not in names or columns[attribute] not in names:
        _check_known(path, [name for name in names if name not in (image, "split")], target, attribute)
    rows, faults = read_metadata(path, (image, *columns.values(), "split"), ())
    return [MetadataRow(row.line, _renamed(row.values, image, columns)) for row in rows], path, faults


def _renamed(values: Mapping[str, str], image: str, columns: Mapping[str, str]) -> dict[str, str]:
    named = {name: values[column] for name, column in columns.items()}
    return {"image": values[image].strip(), "split": values["split"], **named}


def _check_known(path: Path, names: Sequence[str], target: str, attribute: str) -> None:
    for setting, name in (("data.target", target), ("data.attribute", attribute)):
        if name not in names:
            raise DataError(f"{setting}: {path.name} has no attribute {name!r}; it has {', '.join(names)[:600]}")


def _text_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason}") from error
    if not lines:
        raise DataError(f"{path} is empty")
    return lines
