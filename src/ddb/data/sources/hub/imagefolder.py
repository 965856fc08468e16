"""A Hugging Face imagefolder: images beside `metadata.csv`, `.jsonl` or `.parquet` with a column `file_name`.

The metadata file is at the top or in each split's folder. The split of a row is the column `split`; else the folder of
the metadata file; else the folder of the image, as in `datasets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ddb.data.sources.hub.columns import choose, listing_of, names_of, text_of
from ddb.data.sources.hub.shards import Column, read_columns
from ddb.data.sources.layout.listing import Entry, Listing
from ddb.data.sources.layout.split_names import UnknownSplits, split_named, splits_of_paths
from ddb.data.sources.metadata_file import MetadataRow, column_names, read_metadata

METADATA = ("metadata.parquet", "metadata.jsonl", "metadata.csv")
_NOWHERE = "nowhere"
"""Code of an unknown split."""


def metadata_files(folder: Path) -> list[Path]:
    """The metadata file of `folder`, or of each split's folder below it, if it is an imagefolder's."""
    if folder.is_file():
        return []
    candidates = (folder, *sorted(path for path in folder.iterdir() if path.is_dir() and split_named(path.name)))
    found = [next((one / name for name in METADATA if (one / name).is_file()), None) for one in candidates]
    return [path for path in found if path is not None and "file_name" in column_names(path)]


def list_imagefolder(folder: Path, tables: Sequence[Path], target: str, attribute: str) -> Listing:
    entries, faults, notes = [], [], []
    for path in tables:
        columns = choose(_metadata_columns(path), path, target, attribute)
        rows, wrong = read_metadata(path, (columns.image.name, *names_of(columns)), ("split",))
        inner = path.parent.relative_to(folder).as_posix()
        before = "" if inner == "." else f"{inner}/"
        names = [before + row.values[columns.image.name].strip().replace("\\", "/") for row in rows]
        splits, told = _row_splits(rows, names, inner)
        for row, name, split in zip(rows, names, splits, strict=True):
            label = text_of(columns.target, row.values)
            if name == before or not label:
                wrong.append(f"line {row.line} has no {columns.image.name if name == before else columns.target.name}")
            elif split != _NOWHERE:
                other = text_of(columns.attribute, row.values) if columns.attribute else ""
                entries.append(Entry(name, label, other or None, split, row.line))
        faults += [f"{before}{path.name} {fault}" for fault in wrong] if before else wrong
        notes += [f"{before}{path.name}: {note}" for note in told]
    return listing_of(folder, str(tables[0] if len(tables) == 1 else folder), entries, faults, columns, notes)


def _row_splits(rows: Sequence[MetadataRow], names: Sequence[str], inner: str) -> tuple[list[str | None], list[str]]:
    """The split of each row: its column `split`; else the folder of the metadata file; else the folders of the image;
    `_NOWHERE` where unknown. And notes on the unknown ones."""
    unknown = UnknownSplits()
    written = [
        unknown.look_up(text) or _NOWHERE if (text := row.values.get("split", "").strip()) else None for row in rows
    ]
    implied = [split_named(inner)] * len(rows) if split_named(inner) else splits_of_paths(names)
    outside = sum(a is None and b is None for a, b in zip(written, implied, strict=True))
    if outside and (any(written) or any(implied)):
        told = [f"{outside} images lie in no split's folder and are passed over"]
        implied = [split or _NOWHERE for split in implied]
    else:
        told = []
    return [a or b for a, b in zip(written, implied, strict=True)], [*unknown.notes(), *told]


def _metadata_columns(path: Path) -> list[Column]:
    known = read_columns(path) if path.suffix == ".parquet" else [Column(name, False) for name in column_names(path)]
    return [Column(column.name, column.name == "file_name", column.names, column.kind) for column in known]
