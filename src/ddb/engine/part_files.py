"""The parts of results as one process reads them: opened once, opened anew where a file was replaced."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from ddb.engine.layout import ASIDE, numbered
from ddb.engine.parts import Part, Recent
from ddb.errors import DDBError

READS = 5
"""Attempts to read parts that another process replaces."""


class PartFiles:
    """Parts by path. Not for several threads at once."""

    def __init__(self) -> None:
        self.recent = Recent()
        self._parts: dict[Path, tuple[tuple[int, int, int], Part]] = {}

    def part(self, path: Path) -> Part:
        """The part at `path`. FileNotFoundError where there is none."""
        facts = path.stat()
        stamp = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
        if path not in self._parts or self._parts[path][0] != stamp:
            self._parts[path] = (stamp, Part(path, self.recent))
        return self._parts[path][1]

    def all(self, folder: Path) -> list[Part]:
        """Parts of a result, oldest first; what was put aside counts as oldest."""
        aside = [folder / ASIDE] if (folder / ASIDE).exists() else []
        return [self.part(path) for path in [*aside, *numbered(folder)]]

    def columns(self, folder: Path, names: Sequence[str]) -> list[pa.Table]:
        """These columns of all parts of a result, oldest first; read again where a run in another process brought its
        parts into order meanwhile. Raises DDBError where that goes on."""
        for _ in range(READS):
            with suppress(FileNotFoundError):
                return [part.columns(names) for part in self.all(folder)]
        raise DDBError(f"{folder}: its parts disappear while they are read. Try again when the run has ended.")

    def forget(self) -> None:
        """Let go of all parts: removed files give their room on the disk back only when they are closed."""
        self._parts.clear()
        self.recent.forget()
