"""A CSV or Parquet file with the columns path and label, and attribute and split where they are known. Settings
name the columns if they are called otherwise."""

from __future__ import annotations

from pathlib import Path

from ddb.data.locate import located
from ddb.data.sources.folder import SPLIT_NAMES
from ddb.data.sources.listing import Entry, Listing
from ddb.data.sources.metadata_file import read_metadata
from ddb.errors import DataError


def list_table(root: str, target: str = "", attribute: str = "") -> Listing:
    """Every row of the file `root`; paths are relative to its folder, or absolute ones of another machine (`locate`).
    `target` and `attribute` name the columns. Parquet rows count from 2, as CSV lines do."""
    if not root:
        raise DataError("data.root is empty: name the CSV or Parquet file (--data FILE)")
    path = Path(root).expanduser()
    if path.is_dir():
        raise DataError(f"data.root: {path} is a folder; class folders need data.source: folder")
    label_column, attribute_column = target or "label", attribute or "attribute"
    required = ("path", label_column, *((attribute_column,) if attribute else ()))
    rows, faults = read_metadata(path, required, ("split",) if attribute else (attribute_column, "split"))
    paths, notes = located(path.parent, [row.values["path"] for row in rows])
    entries = []
    for row, image in zip(rows, paths, strict=True):
        label, split = row.values[label_column].strip(), row.values.get("split")
        if not image or not label:
            faults.append(f"line {row.line} has no {'path' if not image else label_column}")
        elif split is not None and split.strip().lower() not in SPLIT_NAMES:
            faults.append(f"line {row.line}: split {split!r} is unknown: use {', '.join(SPLIT_NAMES)}")
        else:
            known = None if split is None else SPLIT_NAMES[split.strip().lower()]
            entries.append(Entry(image, label, row.values.get(attribute_column, "").strip() or None, known, row.line))
    return Listing(path.parent, str(path), entries, faults, notes=tuple(notes))
