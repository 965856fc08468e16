"""The interface for reading a run folder: rows by column, pixels by id, artefacts (`engine.workspace` implements
it)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

Row = dict[str, Any]


class Tables(Protocol):
    """Read access to a run folder: rows, pixels and artefacts of the stages that a stage needs."""

    def table(self, stage: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a finished stage in the order of its plan: `columns`, or all that hold no payload.

        A payload column (large_binary, or a list of it) is never loaded: ValueError where one is asked for."""
        ...

    def payload(self, stage: str, column: str, ids: Sequence[str]) -> Iterator[Any]:
        """The payload of these rows, in the order asked; one row group is in memory at a time, so ask in table order.

        KeyError for an id that the stage does not have."""
        ...

    def folder(self, stage: str) -> Path:
        """The folder of the stage's result, for artefacts beside the table (classifier, tokens)."""
        ...
