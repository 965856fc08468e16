"""The interface of a stage. Engines run stages; `pipeline.py` lists them in order."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddb.context import Models
from ddb.records import ERROR
from ddb.tables import Row as Row
from ddb.tables import Tables as Tables

Batch = Sequence[str | None]
"""The ids of a batch in their slots. None: an empty slot (the row exists, or is computed alone); it is filled with a
blank, so that the batch keeps its shape."""
Worker = Callable[[Batch], list[Row]]
"""A batch in, one row out for each id that is not None, in order. A row that fails is `error_row`."""


@dataclass(frozen=True)
class Phased:
    """A worker in three phases, so that an engine can read and write batches while the model computes others.

    `read`: a batch -> the model's inputs, without a model; `compute`: the model's outputs, which may still be computed
    by a device; `rows`: the batch's rows, from these. `read` is called in one thread, `compute` in that which opened
    the worker, `rows` in another, each for one batch after another. `rows` may raise what a worker may raise."""

    read: Callable[[Batch], Any]
    compute: Callable[[Any], Any]
    rows: Callable[[Any], list[Row]]

    def __call__(self, batch: Batch) -> list[Row]:
        """The phases one after another."""
        return self.rows(self.compute(self.read(batch)))


class Need(Enum):
    """How a stage depends on the table of another one, which decides when its rows become stale."""

    PLAN = "plan"
    """Its plan alone reads the table: rows stay good when the table changes, but others may be planned."""
    ROWS = "rows"
    """Each row reads single rows of the table: more rows there change none here; other settings there do."""
    TABLE = "table"
    """Rows may read everything, artefacts too: any change makes all of them stale."""


@dataclass(frozen=True)
class Fixed:
    """Values that the last bits of a stage's rows depend on besides its content. `plan.json` stores those with which
    the stage first opened, and a resumed stage uses them again. `device`: cpu, cuda or mps; `dtype`: torch's name of
    it; `compiled`: whether models are compiled."""

    batch_size: int
    device: str
    dtype: str
    threads: int
    ddb: str
    compiled: bool = False


@dataclass(frozen=True)
class Stage:
    """`content` is JSON-able and holds everything that decides a row's values, apart from the needed stages' results:
    settings marked content, identities of weights, hashes of the data. `extent` holds what decides which rows there
    are. `open` builds the worker (models through `Models.open`); `finish` writes artefacts that need all rows
    (idempotent: repeated after a kill). `models` are the names under which models are opened. `choose`: the values that
    a stage begins with, where they depend on the device or on the number of planned rows; given are the models, that
    number, and the values that all stages share (None: `batch_size`, not compiled). `chosen`: the fields of `Fixed`
    that it chooses and no setting names, so that another present value is no difference. `title`: the name of an
    item for messages, from its id (which may hold the number of a class)."""

    name: str
    schema: pa.Schema
    needs: Mapping[str, Need]
    content: Mapping[str, object]
    plan: Callable[[Tables], list[str]]
    open: Callable[[Models, Tables, Path, Fixed], Worker]
    batch_size: int
    extent: Mapping[str, object] = field(default_factory=dict)
    finish: Callable[[Tables, Path], None] | None = None
    models: tuple[str, ...] = ()
    choose: Callable[[Models, int, Fixed], Fixed] | None = None
    chosen: tuple[str, ...] = ()
    title: Callable[[str], str] = str


def error_row(name: str, error: Exception) -> Row:
    """The row of an item that failed: its message for people, and its traceback for the run folder's log."""
    text = str(error) if type(error).__module__ == "ddb.errors" else f"{type(error).__name__}: {error}"
    return {"id": name, "status": ERROR, "error": text, TRACEBACK: "".join(traceback.format_exception(error))}


TRACEBACK = "traceback"
"""Key of a row that is written to the log, not to the table."""
