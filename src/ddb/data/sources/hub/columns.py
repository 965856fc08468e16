"""The image, label and attribute columns of a data set from the hub, and their values as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb.data.sources.hub.shards import Column
from ddb.data.sources.layout.listing import Entry, Listing
from ddb.errors import DataError

TARGETS = ("label", "labels", "y", "class", "fine_label")
ATTRIBUTES = ("attribute", "place", "a", "background")
UNLABELLED = ("", "-1")
"""Values of an unknown label, as in test splits with secret labels."""
_NESTED = ("list", "large_list", "fixed_size_list", "struct", "map", "binary", "large_binary")


@dataclass(frozen=True)
class Columns:
    """The image, label and attribute column; `attribute` None where there is none."""

    image: Column
    target: Column
    attribute: Column | None


def choose(columns: Sequence[Column], path: Path, target: str, attribute: str) -> Columns:
    """The columns that `target` and `attribute` name, or the usual ones where these are empty. DataError with the
    existing columns, if one is missing or the label column has nested values."""

    def first(wanted: Sequence[str], fits: Callable[[Column], bool] = lambda column: True) -> Column | None:
        return next((column for name in wanted for column in columns if column.name == name and fits(column)), None)

    pictures = [column for column in columns if column.image]
    named_classes = [column for column in columns if column.names]
    label = first([target] if target else TARGETS) or (named_classes[0] if named_classes and not target else None)
    other = first([attribute] if attribute else ATTRIBUTES)
    missing = [] if pictures else ["no column of images"]
    missing += [] if label else [f"no label column {target or ' or '.join(TARGETS)} (data.target)"]
    missing += [f"no attribute column {attribute} (data.attribute)"] if attribute and other is None else []
    if label and label.kind.startswith(_NESTED):
        raise DataError(f"{path}: the label column {label.name} is of type {label.kind}: name one of single values")
    if missing or label is None:
        names = ", ".join(f"{column.name} ({column.kind})" if column.kind else column.name for column in columns)
        raise DataError(f"{path} has {' and '.join(missing)}; its columns are {names}")
    return Columns(first(("image", "img", "file_name"), lambda c: c.image) or pictures[0], label, other)


def names_of(columns: Columns) -> tuple[str, ...]:
    """The names of the label column and, where there is one, the attribute column."""
    return (columns.target.name, *((columns.attribute.name,) if columns.attribute else ()))


def text_of(column: Column, row: dict[str, Any]) -> str:
    """A row's value as text; numbers of a ClassLabel become its names."""
    value = "" if row[column.name] is None else str(row[column.name]).strip()
    return column.names[int(value)] if value.isdecimal() and int(value) < len(column.names) else value


def listing_of(
    root: Path, where: str, entries: list[Entry], faults: list[str], columns: Columns, notes: Sequence[str]
) -> Listing:
    """The listing of these entries, with the classes and attributes in the order of their ClassLabels."""
    present = {entry.label for entry in entries}
    classes = tuple(name for name in columns.target.names if name in present)
    return Listing(
        root, where, entries, faults, classes, columns.attribute.names if columns.attribute else (), notes=tuple(notes)
    )
