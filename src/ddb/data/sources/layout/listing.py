"""The output of a source: the images that a data set lists, before any file is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.data.reading.file_kinds import what_is
from ddb.data.table import Quarantined
from ddb.errors import DataError

SHOWN = 5


@dataclass(frozen=True)
class Entry:
    """One listed image. `label` and `attribute` are names; `split`: one of `SPLITS`, or None where the source has no
    splits; `row`: the line of the metadata file."""

    image: str
    label: str
    attribute: str | None = None
    split: str | None = None
    row: int | None = None


@dataclass(frozen=True)
class Listing:
    """`where`: the source's name in messages. `classes` and `attributes`: their order; empty: by name. `faults`: the
    errors found so far, which are reported together with those of later checks. `notes`: remarks for people that are no
    faults, one line each. `benchmark`: key into `published_counts.PUBLISHED`, "" where there is none."""

    root: Path
    where: str
    entries: list[Entry]
    faults: list[str]
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    benchmark: str = ""


def data_error(where: str, faults: Sequence[str], notes: Sequence[str] = ()) -> DataError:
    """All faults in one error: the first `SHOWN` in full, the rest as a number; below them as many notes."""
    lines = [f"{where}: {faults[0]}"]
    if len(faults) > 1:
        lines = [f"{where}: {len(faults)} faults", *(f"  - {fault}" for fault in faults[:SHOWN])]
    if len(faults) > SHOWN:
        lines.append(f"  - and {len(faults) - SHOWN} more")
    return DataError("\n".join([*lines, *(f"  note: {note}" for note in notes[:SHOWN])]))


def named(root: str) -> Path:
    """`data.root` as a path. DataError if it is empty."""
    if not root:
        raise DataError("data.root is empty: name the folder that holds the images (--data FOLDER)")
    return Path(root).expanduser()


def existing_folder(root: str) -> Path:
    """`data.root` as a folder that exists. DataError if it is empty, missing or a file."""
    folder = named(root)
    if not folder.exists():
        raise DataError(f"data.root: folder {folder} does not exist")
    if not folder.is_dir():
        told = what_is(folder)
        raise DataError(f"data.root: {folder} is {told or 'a file; a CSV or Parquet file needs data.source: table'}")
    return folder


def inner_folder(folder: Path, name: str) -> Path:
    """The folder `name` in `folder` where there is one: a data set whose archive brings a folder of its own."""
    return folder / name if (folder / name).is_dir() else folder
