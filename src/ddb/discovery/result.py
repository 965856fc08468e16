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
    def chosen(self) -> Finding | None:
        """The finding that groups.csv holds: the first of the surroundings, else the first inside the object that says
        something else than the class; None: there is none."""
        objects = (finding for finding in self.object if not finding.inseparable)
        return next(iter(self.surroundings), None) or next(objects, None)

    @property
    def groups(self) -> Path | None:
        """The file groups.csv; None: nothing was found."""
        return self.folder / "groups.csv" if self.chosen else None
