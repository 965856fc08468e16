"""Batches of fixed shape with one item per slot: an item that fails leaves an empty slot and affects no other item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ddb.backends import Failed
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import TRACEBACK, Batch, Row, error_row

T = TypeVar("T")
ITEM_ERRORS = (DDBError, ValueError, ArithmeticError, LookupError, TypeError)
"""Errors that concern one item alone. A full disk (OSError) and MemoryError are not among them."""


@dataclass(frozen=True)
class Filled(Generic[T]):
    """A batch that was read: its items by slot (None in an empty slot and where reading failed), and the error rows of
    those that failed."""

    batch: Batch
    slots: list[T | None]
    failed: dict[str, Row]

    def rows(self, row: Callable[[int, str], Row]) -> list[Row]:
        """See `rows_of`."""
        return rows_of(self.batch, self.failed, row)


def filled(batch: Batch, load: Callable[[str], T]) -> Filled[T]:
    """Read a batch: `load(id)` for each of its ids.

    OSError and MemoryError pass through, apart from a file that cannot be read.
    """
    slots: list[T | None] = []
    failed: dict[str, Row] = {}
    for name in batch:
        try:
            slots.append(None if name is None else load(name))
        except ITEM_ERRORS as error:
            failed[str(name)] = error_row(str(name), error)
            slots.append(None)
    return Filled(batch, slots, failed)


def given(slots: Sequence[T | None]) -> list[T | Failed]:
    """The slots as the input of a backend: `Failed` in empty slots."""
    return [Failed("an empty slot") if item is None else item for item in slots]


def failed_row(name: str, failed: Failed) -> Row:
    """The row of an item for which a model had no result."""
    return {"id": name, "status": ERROR, "error": failed.reason, TRACEBACK: failed.traceback or failed.reason}


def stacked(slots: Sequence[npt.NDArray[np.uint8] | None], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The slots' arrays of this shape stacked to one array [N, *shape]; empty slots are 0."""
    pixels = np.zeros((len(slots), *shape), np.uint8)
    for slot, item in enumerate(slots):
        if item is not None:
            pixels[slot] = item
    return pixels


def rows_of(batch: Batch, failed: Mapping[str, Row], row: Callable[[int, str], Row]) -> list[Row]:
    """A row for each id of the batch, in order: its error row, or `row(slot, id)`. An error row as well where `row`
    raises one of `ITEM_ERRORS` or returns a number that is not finite."""
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
