"""A CSV or Parquet file with the columns path and label, and attribute and split where they are known. Other names of
the columns are given by settings."""

from __future__ import annotations

from pathlib import Path

from ddb.data.sources.hub.shards import read_columns
from ddb.data.sources.layout.listing import Entry, Listing
from ddb.data.sources.layout.locate import located
from ddb.data.sources.layout.split_names import USUAL, UnknownSplits
from ddb.data.sources.metadata_file import PARQUET, column_names, read_metadata
from ddb.errors import DataError


def list_table(root: str, target: str = "", attribute: str = "") -> Listing:
    """Every row of the file `root`; paths are relative to its folder, or absolute ones of another machine (`locate`).
    `target` and `attribute` name the columns. Parquet rows count from 2, as CSV lines do."""
    if not root:
        raise DataError("data.root is empty: name the CSV or Parquet file (--data FILE)")
    path = Path(root).expanduser()
    if path.is_dir():
        raise DataError(f"data.root: {path} is a folder; class folders need data.source: folder")
    parquet = path.suffix.lower() in PARQUET and path.is_file() and "path" not in column_names(path)
    if parquet and (held := [column.name for column in read_columns(path) if column.image]):
        raise DataError(f"{path} holds images (column {held[0]}), not paths: use --set data.source=huggingface")
    label_column, attribute_column = target or "label", attribute or "attribute"
    required = ("path", label_column, *((attribute_column,) if attribute else ()))
    rows, faults = read_metadata(path, required, ("split",) if attribute else (attribute_column, "split"))
    paths, notes = located(path.parent, [row.values["path"] for row in rows])
    entries = []
    unknown = UnknownSplits()
    for row, image in zip(rows, paths, strict=True):
        label, split = row.values[label_column].strip(), row.values.get("split")
        if not image or not label:
            faults.append(f"line {row.line} has no {'path' if not image else label_column}")
        elif split is not None and not split.strip():
            faults.append(f"line {row.line} has no split: use {USUAL}")
        else:
            known = None if split is None else unknown.look_up(split)
            if split is None or known:
                other = row.values.get(attribute_column, "").strip()
                entries.append(Entry(image, label, other or None, known, row.line))
    return Listing(path.parent, str(path), entries, faults, notes=(*notes, *unknown.notes()))
