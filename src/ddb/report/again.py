"""What makes a run again: its command, its seed, and the versions that it was made with."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ddb.report.reading import Run


@dataclass(frozen=True)
class Again:
    """`command`: a line for a shell; `seed`: of the run ("" where it is unknown); `versions`: name -> version of ddb,
    Python and the libraries; `settings`: config.yaml as text."""

    command: str
    seed: str
    versions: dict[str, str]
    settings: str


def again(run: Run) -> Again | None:
    """None where the run folder has no settings."""
    if not run.config_text:
        return None
    environment = run.json("environment.json")
    names = ("ddb", "python", "system", "device", "precision")
    versions = {name: str(environment[name]) for name in names if name in environment}
    versions |= {name: str(found) for name, found in (environment.get("packages") or {}).items()}
    return Again(
        shlex.join(["ddb", "run", str(run.folder / "config.yaml"), "--out", f"{run.folder}-again"]),
        str(run.config.get("seed", "")),
        versions,
        run.config_text,
    )


def command(run: Run) -> str:
    """The line that computes this run folder again where settings have changed; `--set` may follow."""
    return shlex.join(["ddb", "run", str(run.folder / "config.yaml"), "--out", str(run.folder)])
