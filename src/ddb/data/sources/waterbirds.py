"""Waterbirds: metadata.csv with img_filename, y, split and place beside the images (Sagawa et al. 2020).

Other columns are ignored. Group counts are compared with the published copy's (`published_counts`).
"""

from __future__ import annotations

from ddb.data.sources.layout.listing import Entry, Listing, existing_folder
from ddb.data.sources.layout.locate import located
from ddb.data.sources.metadata_file import MetadataRow, read_metadata
from ddb.errors import DataError

CLASSES = {"0": "landbird", "1": "waterbird"}
PLACES = {"0": "land", "1": "water"}
SPLITS = {"0": "train", "1": "val", "2": "test"}
_CODES = {"y": CLASSES, "place": PLACES, "split": SPLITS}


def list_waterbirds(root: str) -> Listing:
    """Every row of ROOT/metadata.csv."""
    folder = existing_folder(root)
    path = folder / "metadata.csv"
    if not path.is_file():
        below = sorted(folder.glob("*/metadata.csv"))
        hint = f"; there is one in {below[0].parent}: set data.root to it" if below else ""
        raise DataError(f"{folder} holds no metadata.csv{hint}")
    rows, faults = read_metadata(path, ("img_filename", "y", "split", "place"), ())
    paths, notes = located(folder, [row.values["img_filename"] for row in rows])
    entries = []
    for row, image in zip(rows, paths, strict=True):
        wrong = _faults(row)
        faults += wrong
        if not wrong:
            y, place, split = (row.values[name].strip() for name in ("y", "place", "split"))
            entries.append(Entry(image, CLASSES[y], PLACES[place], SPLITS[split], row.line))
    names = tuple(CLASSES.values()), tuple(PLACES.values())
    return Listing(folder, str(path), entries, faults, *names, notes=tuple(notes), benchmark="waterbirds")


def _faults(row: MetadataRow) -> list[str]:
    faults = [] if row.values["img_filename"].strip() else [f"line {row.line} has no img_filename"]
    for column, codes in _CODES.items():
        value = row.values[column].strip()
        if value not in codes:
            meaning = ", ".join(f"{code} ({name})" for code, name in codes.items())
            faults.append(f"line {row.line}: {column} {value!r} is unknown: use {meaning}")
    return faults
