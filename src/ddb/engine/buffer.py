"""Rows of a running stage that are written as parts, now and then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ddb.engine import journal
from ddb.engine.interrupt import shielded
from ddb.engine.parts import payload_names, row_bytes
from ddb.engine.workspace import Workspace
from ddb.stage import Row, Stage

PART_SECONDS = 5.0
PART_ROWS = 1024
PART_BYTES = 1 << 26


@dataclass
class Buffer:
    """Rows that are not written yet; `computed` counts all rows that were added."""

    workspace: Workspace
    stage: Stage
    rows: list[Row] = field(default_factory=list)
    size: int = 0
    computed: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, rows: Sequence[Row]) -> None:
        payloads = payload_names(self.stage.schema)
        self.rows += rows
        self.size += sum(row_bytes(row, payloads) for row in rows)
        self.computed += len(rows)

    def due(self) -> bool:
        late = time.monotonic() - self.since >= PART_SECONDS
        return late or len(self.rows) >= PART_ROWS or self.size >= PART_BYTES

    def flush(self) -> None:
        """Write the rows as a part. Where that fails, they are dropped; earlier parts stay."""
        rows, self.rows, self.size = self.rows, [], 0
        if rows:
            with shielded():
                self.workspace.write_part(self.stage, rows)
                seconds = round(time.monotonic() - self.since, 3)
                result = self.workspace.folder(self.stage.name).name
                facts = {"stage": self.stage.name, "result": result, "rows": len(rows), "seconds": seconds}
                journal.event(self.workspace.root, "part", **facts)
        self.since = time.monotonic()
