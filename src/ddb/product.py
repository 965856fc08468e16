"""What a finished run hands on: the balanced data set and the retrained classifier, and not how they came about."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError

CONTENTS = {"balanced": "balanced", "7-retrain/classifier": "classifier", "metrics.json": "metrics.json"}
"""What is copied from the run folder, and its name in the new one."""


def export_product(run: Path, out: Path) -> Path:
    """Copy `CONTENTS` into `out`, whole or not at all. Raises DDBError: not a finished run, or `out` is not empty."""
    stages = describe(Workspace.at(run))["stages"]
    left = [f"{stage['stage']} is {stage['state']}" for stage in stages if stage["state"] != "finished"]
    left += [f"{source} is missing" for source in CONTENTS if not (run / source).exists()]
    if left:
        raise DDBError(f"{run}: the run is not finished ({left[0]}); finish it with `ddb run`")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DDBError(f"{out} is there already: name a new folder")
    draft = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        for source, target in CONTENTS.items():
            copy = shutil.copytree if (run / source).is_dir() else shutil.copyfile
            copy(run / source, draft / target)
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise DDBError(f"{out} cannot be written: {error.strerror or error}") from error
    return out
