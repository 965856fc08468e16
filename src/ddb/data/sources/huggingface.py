"""Data sets of Hugging Face `datasets` on this disk: saved with `save_to_disk`, Parquet folders, imagefolders.

Images in Arrow or Parquet files are written once, unchanged, into the cache folder (`unpacked-<hash>/<split>/`), so
that later steps can read single files. This needs the disk space of the data set a second time. An imagefolder
(`metadata.csv`, `.jsonl` or `.parquet` with `file_name`, at the top or in each split's folder) is read in place; its
splits are the column `split`, else the folders of the images.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ddb.data.reading.cache_folder import user_cache
from ddb.data.sources.hub.columns import UNLABELLED, Columns, choose, listing_of, names_of, text_of
from ddb.data.sources.hub.imagefolder import METADATA, list_imagefolder, metadata_files
from ddb.data.sources.hub.shards import PARQUET, Shard, find_shards, read_columns, read_rows
from ddb.data.sources.layout.listing import Entry, Listing, existing_folder, named
from ddb.data.sources.layout.split_names import USUAL
from ddb.errors import DataError


def list_huggingface(root: str, target: str, attribute: str, cache: Path | None) -> Listing:
    """Every labelled row. `target` and `attribute` name columns (default: label, ...). Rows without a label (-1 in a
    test split whose labels are secret) are skipped with a note."""
    folder = named(root)
    if folder.suffix.lower() not in PARQUET or not folder.is_file():
        folder = existing_folder(root)
    tables = metadata_files(folder)
    if tables:
        return list_imagefolder(folder, tables, target, attribute)
    shards = find_shards(folder)
    if not shards:
        raise DataError(
            f"{folder} holds no Hugging Face data set: no dataset_dict.json, no state.json, no .parquet files and no "
            f"{', '.join(METADATA)}"
        )
    return _list_shards(folder, shards, target, attribute, cache)


def _list_shards(folder: Path, shards: Sequence[Shard], target: str, attribute: str, cache: Path | None) -> Listing:
    shards, notes = _with_split(shards)
    columns = choose(read_columns(shards[0].path), shards[0].path, target, attribute)
    _check_alike(shards, columns)
    unpacked = (cache or user_cache()) / f"unpacked-{_key(shards, columns)}"
    if not unpacked.is_dir():
        _unpack(shards, columns, unpacked)
    files = {path.stem: path.name for path in unpacked.rglob("*") if path.is_file()}
    entries, silent = [], 0
    for number, shard, row in _numbered(shards, names_of(columns)):
        label = text_of(columns.target, row)
        if label in UNLABELLED:
            silent += 1
            continue
        other = text_of(columns.attribute, row) if columns.attribute else ""
        name = f"{shard.split or 'all'}/{files[f'{number:08d}']}"
        entries.append(Entry(name, label, other or None, shard.split, number))
    notes = [f"images of {folder} were unpacked into {unpacked}", *notes]
    notes += [f"{silent} rows have no label and are passed over"] if silent else []
    return listing_of(unpacked, str(folder), entries, [], columns, notes)


def _with_split(shards: Sequence[Shard]) -> tuple[Sequence[Shard], list[str]]:
    """The shards with known splits and a note on the others; all shards where no split is known."""
    known = [shard for shard in shards if shard.split]
    others = [shard.path for shard in shards if not shard.split]
    if not known or not others:
        return shards, []
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in others[:3])
    return known, [f"{len(others)} files name no split that ddb knows ({USUAL}) and are passed over: {names}"]


def _check_alike(shards: Sequence[Shard], columns: Columns) -> None:
    """DataError names a shard whose columns are not those of the first."""
    wanted = [column for column in (columns.image, columns.target, columns.attribute) if column]
    for shard in shards[1:]:
        there = {column.name: column for column in read_columns(shard.path)}
        for column in wanted:
            other = there.get(column.name)
            if other is None or (other.image, other.names) != (column.image, column.names):
                what = f"another one ({other.kind}{_classes(other.names)})" if other else "none"
                raise DataError(
                    f"{shards[0].path.name} has the column {column.name}, {shard.path} {what}: these are two data sets "
                    "in one folder; set data.root to a folder that holds one"
                )


def _classes(names: Sequence[str]) -> str:
    return f" of the classes {', '.join(names[:4])}" if names else ""


def _unpack(shards: Sequence[Shard], columns: Columns, out: Path) -> None:
    """Write every labelled image as a file named by its row. The folder appears when it is complete."""
    draft = out.parent / f".{out.name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for split in {shard.split for shard in shards}:
            (draft / (split or "all")).mkdir(parents=True)
        for number, shard, row in _numbered(shards, (columns.image.name, columns.target.name)):
            if text_of(columns.target, row) in UNLABELLED:
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
    place = value.get("path") if isinstance(value, dict) else value
    if isinstance(place, str) and not isinstance(data, bytes) and place:
        raise DataError(
            f"{path} row {number} holds only the path {place!r}, not the image: save the data set with its images "
            "embedded"
        )
    return bytes(data or b"")


def _suffix(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return ".png"
    return ".webp" if data[8:12] == b"WEBP" else ".jpg"


def _numbered(shards: Sequence[Shard], columns: Sequence[str]) -> Iterator[tuple[int, Shard, dict[str, Any]]]:
    """(number of the row in the whole data set, 1-based; its shard; its values)."""
    number = 0
    for shard in shards:
        for row in read_rows(shard.path, columns):
            number += 1
            yield number, shard, row


def _key(shards: Sequence[Shard], columns: Columns) -> str:
    facts: list[Any] = [columns.image.name, columns.target.name]
    for shard in shards:
        state = shard.path.stat()
        facts.append([shard.split, shard.path.parent.name, shard.path.name, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
