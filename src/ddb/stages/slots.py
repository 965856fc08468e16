"""A batch with one item in each slot: what fails takes no other item with it, and the batch keeps its shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ddb.backends import Failed
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import TRACEBACK, Batch, Row, error_row

T = TypeVar("T")
ITEM_ERRORS = (DDBError, ValueError, ArithmeticError, LookupError, TypeError)
"""What an item may raise that is wrong with it alone. A full disk, or memory that runs out, is not among them."""


def filled(batch: Batch, load: Callable[[str], T]) -> tuple[list[T | None], dict[str, Row]]:
    """`load(id)` in each slot, None in an empty one and where it fails; and the error rows of those that failed.

    A full disk or memory that runs out passes through (OSError, MemoryError), unless it is a file that cannot be read.
    """
    slots: list[T | None] = []
    failed: dict[str, Row] = {}
    for name in batch:
        try:
            slots.append(None if name is None else load(name))
        except ITEM_ERRORS as error:
            failed[str(name)] = error_row(str(name), error)
            slots.append(None)
    return slots, failed


def given(slots: Sequence[T | None]) -> list[T | Failed]:
    """The slots as backends take them: a blank keeps the place of an empty one."""
    return [Failed("an empty slot") if item is None else item for item in slots]


def failed_row(name: str, failed: Failed) -> Row:
    """The row of an item for which a model had no result."""
    return {"id": name, "status": ERROR, "error": failed.reason, TRACEBACK: failed.traceback or failed.reason}


def stacked(slots: Sequence[npt.NDArray[np.uint8] | None], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The slots' arrays of this shape as one array; an empty slot is black."""
    pixels = np.zeros((len(slots), *shape), np.uint8)
    for slot, item in enumerate(slots):
        if item is not None:
            pixels[slot] = item
    return pixels


def rows_of(batch: Batch, failed: Mapping[str, Row], row: Callable[[int, str], Row]) -> list[Row]:
    """A row for each id of the batch, in order: its error row, or `row(slot, id)`, which is an error where it raises
    one of `ITEM_ERRORS` or a number in it is not finite."""
    rows = []
    for slot, name in enumerate(batch):
        if name is None:
            continue
        try:
            rows.append(failed[name] if name in failed else _checked(name, row(slot, name)))
        except ITEM_ERRORS as error:
            rows.append(error_row(name, error))
    return rows


def _checked(name: str, row: Row) -> Row:
    for key, value in row.items():
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, float) and not np.isfinite(one) for one in values):
            reason = f"{key} is not finite: weights are damaged, or numbers overflowed (precision fp16?)"
            return error_row(name, StageFailed(reason))
    return row
