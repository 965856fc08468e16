"""What `ddb discover` found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddb.data.table import Dataset
from ddb.discovery.embed import Embedded
from ddb.discovery.findings import Finding


@dataclass(frozen=True)
class Discovery:
    """`dataset` without its attributes; `surroundings` and `object`: findings of the two views, strongest first;
    `model`: whose errors were tested, "" without one; `folder` that holds the files."""

    dataset: Dataset
    embedded: Embedded
    surroundings: tuple[Finding, ...]
    object: tuple[Finding, ...]
    model: str
    encoder: str
    folder: Path
    made_from: str
    """Names data and settings (`ddb.discovery.run.identity_of`); "" where a model was given."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of the surroundings first."""
        return self.surroundings + self.object

    @property
    def groups(self) -> Path | None:
        """The groups.csv of the first finding; None: nothing was found."""
        return self.folder / "groups.csv" if self.findings else None
