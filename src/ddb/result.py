"""The result of a run as Python holds it: its folder, with its figures and tables, shown as HTML by notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddb import pipeline
from ddb.config import RunConfig
from ddb.engine import files
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RunResult:
    """A run folder. It can be used in place of its path: `open(result / "metrics.json")`, `Path(result)`."""

    folder: Path

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)

    def __truediv__(self, name: str) -> Path:
        """The path of something in the folder."""
        return self.folder / name

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures of stage evaluate, as in metrics.json. DDBError where that stage is not finished under the
        present settings."""
        workspace = Workspace.at(self.folder)
        workspace.table("evaluate", ["id"])
        return files.read_json(workspace.folder("evaluate") / "metrics.json") or {}

    @property
    def status(self) -> dict[str, Any]:
        """See `ddb.status`."""
        return pipeline.status(self.folder)

    def table(self, stage: str) -> pa.Table:
        """See `ddb.table`."""
        return pipeline.table(self.folder, stage)

    def write_report(self) -> Path:
        """Write report.html anew and return its path. DDBError as `ddb.write_report`."""
        from ddb.report.page import write_report

        return write_report(self.folder)

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None, so that it shows the text, where the folder cannot be read."""
        from ddb.report.notebook import summary_html

        try:
            return summary_html(self.folder)
        except DDBError:
            return None


def run(
    config: RunConfig,
    out: Path | None = None,
    *,
    until: str | None = None,
    only: str | None = None,
    progress: Progress | None = None,
    engine: str = "local",
) -> RunResult:
    """Run the method and return its result: `ddb.pipeline.run`."""
    return RunResult(pipeline.run(config, out, until=until, only=only, progress=progress, engine=engine))


def open_run(folder: Path | str) -> RunResult:
    """The result in an existing run folder. DDBError where it is none."""
    Workspace.at(Path(folder))
    return RunResult(Path(folder))
