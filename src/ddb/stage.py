"""What a stage is: the one shape that stages have, engines run and `pipeline.py` puts in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

Row = dict[str, Any]
Worker = Callable[[list[str]], list[Row]]
"""Ids in, one row per id out, in order. A row that fails is a row with status "error" and its message."""


class Tables(Protocol):
    """What a stage sees of the run folder: the tables and folders of the stages it needs."""

    def table(self, stage: str) -> pa.Table:
        """All rows of a finished stage, in the order of its plan."""
        ...

    def folder(self, stage: str) -> Path:
        """The stage's folder, for artefacts beside the table (classifier, tokens)."""
        ...


@dataclass(frozen=True)
class Stage:
    """`settings` is JSON-able and holds everything that decides the rows apart from the needed stages' results:
    config section, backend identity, seed, data fingerprint. `open` builds models (once a worker); `finish` writes
    artefacts that need all rows (idempotent: repeated after a kill). `row_needs` are the needed stages of which a row
    reads the row of its own id alone: such a table may grow without making the rows made before stale."""

    name: str
    schema: pa.Schema
    needs: tuple[str, ...]
    settings: Mapping[str, object]
    plan: Callable[[Tables], list[str]]
    open: Callable[[Tables, Path], Worker]
    batch_size: int
    finish: Callable[[Tables, Path], None] | None = None
    row_needs: tuple[str, ...] = ()
