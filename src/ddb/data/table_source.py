"""A CSV or Parquet file with the columns path and label, and attribute and split where they are known."""

from __future__ import annotations

from pathlib import Path

from ddb.data.folder_source import SPLIT_NAMES
from ddb.data.listing import Entry, Listing
from ddb.data.metadata_file import read_metadata
from ddb.errors import DataError


def list_table(root: str) -> Listing:
    """Every row of the file `root`; paths are relative to its folder. Parquet rows count from 2, as CSV lines do."""
    if not root:
        raise DataError("data.root is empty: name the CSV or Parquet file (--data FILE)")
    path = Path(root).expanduser()
    if path.is_dir():
        raise DataError(f"data.root: {path} is a folder; class folders need data.source: folder")
    rows, faults = read_metadata(path, ("path", "label"), ("attribute", "split"))
    entries = []
    for row in rows:
        image, label, split = row.values["path"].strip(), row.values["label"].strip(), row.values.get("split")
        if not image or not label:
            faults.append(f"line {row.line} has no {'path' if not image else 'label'}")
        elif split is not None and split.strip().lower() not in SPLIT_NAMES:
            faults.append(f"line {row.line}: split {split!r} is unknown: use {', '.join(SPLIT_NAMES)}")
        else:
            known = None if split is None else SPLIT_NAMES[split.strip().lower()]
            attribute = row.values.get("attribute", "").strip() or None
            entries.append(Entry(image.replace("\\", "/"), label, attribute, known, row.line))
    return Listing(path.parent, str(path), entries, faults)
