"""Data sets of Hugging Face `datasets` on this disk: saved with `save_to_disk`, Parquet folders, imagefolders.

Images inside Arrow or Parquet files are written once, as they are, into the cache folder (`unpacked-<hash>/<split>/`):
every later step then reads files, in any order. That takes the disk space of the data set once more. An imagefolder
(`metadata.csv`, `.jsonl` or `.parquet` with `file_name`, at the top or in each split's folder) is read in place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb.data.cache_folder import user_cache
from ddb.data.sources.folder import SPLIT_NAMES
from ddb.data.sources.listing import Entry, Listing, existing_folder
from ddb.data.sources.metadata_file import column_names, read_metadata
from ddb.data.sources.shards import Column, Shard, find_shards, read_columns, read_rows
from ddb.errors import DataError

METADATA = ("metadata.parquet", "metadata.jsonl", "metadata.csv")
TARGETS = ("label", "labels", "y", "class", "fine_label")
ATTRIBUTES = ("attribute", "place", "a", "background")
_UNLABELLED = ("", "-1")


@dataclass(frozen=True)
class _Columns:
    """Image, label and attribute column; `attribute` None where there is none."""

    image: Column
    target: Column
    attribute: Column | None


def list_huggingface(root: str, target: str, attribute: str, cache: Path | None) -> Listing:
    """Every labelled row. `target` and `attribute` name columns (default: label, ...). Rows without a label (-1 in a
    test split whose labels are secret) are passed over, which is said."""
    folder = existing_folder(root)
    tables = metadata_files(folder)
    if tables:
        return _list_imagefolder(folder, tables, target, attribute)
    shards = find_shards(folder)
    if not shards:
        raise DataError(
            f"{folder} holds no Hugging Face data set: no dataset_dict.json, no state.json, no .parquet files and no "
            f"{', '.join(METADATA)}"
        )
    return _list_shards(folder, shards, target, attribute, cache)


def metadata_files(folder: Path) -> list[Path]:
    """The metadata file of `folder`, or of each split's folder below it, if it is an imagefolder's."""
    places = (folder, *(folder / name for name in SPLIT_NAMES))
    found = [next((place / name for name in METADATA if (place / name).is_file()), None) for place in places]
    return [path for path in found if path is not None and "file_name" in column_names(path)]


def _list_shards(folder: Path, shards: Sequence[Shard], target: str, attribute: str, cache: Path | None) -> Listing:
    columns = _choose(read_columns(shards[0].path), shards[0].path, target, attribute)
    unpacked = (cache or user_cache()) / f"unpacked-{_key(shards, columns)}"
    if not unpacked.is_dir():
        _unpack(shards, columns, unpacked)
    files = {path.stem: path.name for path in unpacked.rglob("*") if path.is_file()}
    entries, silent = [], 0
    for number, shard, row in _numbered(shards, _names(columns)):
        label = _text(columns.target, row)
        if label in _UNLABELLED:
            silent += 1
            continue
        other = _text(columns.attribute, row) if columns.attribute else ""
        name = f"{shard.split or 'all'}/{files[f'{number:08d}']}"
        entries.append(Entry(name, label, other or None, shard.split, number))
    notes = [f"images of {folder} were unpacked into {unpacked}"]
    notes += [f"{silent} rows have no label and are passed over"] if silent else []
    return _listing(unpacked, str(folder), entries, [], columns, notes)


def _unpack(shards: Sequence[Shard], columns: _Columns, out: Path) -> None:
    """Write every labelled image as a file named by its row. The folder appears when it is complete."""
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for split in {shard.split for shard in shards}:
            (draft / (split or "all")).mkdir(parents=True)
        for number, shard, row in _numbered(shards, (columns.image.name, columns.target.name)):
            if _text(columns.target, row) in _UNLABELLED:
                continue
            data = _image_bytes(row[columns.image.name], shard.path, number)
            (draft / (shard.split or "all") / f"{number:08d}{_suffix(data)}").write_bytes(data)
        os.replace(draft, out)
    except OSError as error:
        raise DataError(f"{out.parent}: cannot unpack images there: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _image_bytes(value: Any, path: Path, number: int) -> bytes:
    """The encoded image of a row; empty where the row has none (such a file is set aside later)."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None and isinstance(value, dict) and value.get("path"):
        raise DataError(
            f"{path} row {number} holds only the path {value['path']!r}, not the image: save the data set with its "
            "images embedded"
        )
    return bytes(data or b"")


def _suffix(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return ".png"
    return ".webp" if data[8:12] == b"WEBP" else ".jpg"


def _list_imagefolder(folder: Path, tables: Sequence[Path], target: str, attribute: str) -> Listing:
    entries, faults = [], []
    for path in tables:
        columns = _choose(_metadata_columns(path), path, target, attribute)
        rows, wrong = read_metadata(path, (columns.image.name, *_names(columns)), ("split",))
        inner = path.parent.relative_to(folder).as_posix()
        faults += [f"{inner}/{path.name} {fault}" for fault in wrong] if inner != "." else wrong
        for row in rows:
            label, name = _text(columns.target, row.values), row.values[columns.image.name].strip().replace("\\", "/")
            split = (row.values.get("split") or ("" if inner == "." else inner)).strip().lower()
            if split and split not in SPLIT_NAMES:
                faults.append(f"line {row.line}: split {split!r} is unknown: use {', '.join(SPLIT_NAMES)}")
            elif not name or not label:
                faults.append(f"line {row.line} has no {columns.target.name if name else columns.image.name}")
            else:
                other = _text(columns.attribute, row.values) if columns.attribute else ""
                place = name if inner == "." else f"{inner}/{name}"
                entries.append(Entry(place, label, other or None, SPLIT_NAMES.get(split), row.line))
    return _listing(folder, str(tables[0] if len(tables) == 1 else folder), entries, faults, columns, [])


def _metadata_columns(path: Path) -> list[Column]:
    known = read_columns(path) if path.suffix == ".parquet" else [Column(name, False) for name in column_names(path)]
    return [Column(column.name, column.name == "file_name", column.names) for column in known]


def _choose(columns: Sequence[Column], path: Path, target: str, attribute: str) -> _Columns:
    """Which columns are meant. DataError with the columns that there are."""

    def first(wanted: Sequence[str], fits: Callable[[Column], bool] = lambda column: True) -> Column | None:
        return next((column for name in wanted for column in columns if column.name == name and fits(column)), None)

    pictures = [column for column in columns if column.image]
    named_classes = [column for column in columns if column.names]
    label = first([target] if target else TARGETS) or (named_classes[0] if named_classes and not target else None)
    other = first([attribute] if attribute else ATTRIBUTES)
    missing = [] if pictures else ["no column of images"]
    missing += [] if label else [f"no label column {target or ' or '.join(TARGETS)} (data.target)"]
    missing += [f"no attribute column {attribute} (data.attribute)"] if attribute and other is None else []
    if missing or label is None:
        names = ", ".join(column.name for column in columns)
        raise DataError(f"{path} has {' and '.join(missing)}; its columns are {names}")
    return _Columns(first(("image", "img", "file_name"), lambda c: c.image) or pictures[0], label, other)


def _names(columns: _Columns) -> tuple[str, ...]:
    return (columns.target.name, *((columns.attribute.name,) if columns.attribute else ()))


def _text(column: Column, row: dict[str, Any]) -> str:
    """A row's value as text; numbers of a ClassLabel become its names."""
    value = "" if row[column.name] is None else str(row[column.name]).strip()
    return column.names[int(value)] if value.isdecimal() and int(value) < len(column.names) else value


def _numbered(shards: Sequence[Shard], columns: Sequence[str]) -> Iterator[tuple[int, Shard, dict[str, Any]]]:
    """(number of the row in the whole data set, 1-based; its shard; its values)."""
    number = 0
    for shard in shards:
        for row in read_rows(shard.path, columns):
            number += 1
            yield number, shard, row


def _key(shards: Sequence[Shard], columns: _Columns) -> str:
    facts: list[Any] = [columns.image.name, columns.target.name]
    for shard in shards:
        state = shard.path.stat()
        facts.append([shard.split, shard.path.parent.name, shard.path.name, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _listing(
    root: Path, where: str, entries: list[Entry], faults: list[str], columns: _Columns, notes: Sequence[str]
) -> Listing:
    present = {entry.label for entry in entries}
    classes = tuple(name for name in columns.target.names if name in present)
    return Listing(
        root, where, entries, faults, classes, columns.attribute.names if columns.attribute else (), notes=tuple(notes)
    )
