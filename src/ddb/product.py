"""`ddb export`: what a finished run hands on (data set, classifier, figures) in a folder of its own."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from ddb.engine.files import read_json
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError

CONTENTS = ("balanced", "classifier", "metrics.json")
"""What is copied from the run folder, under the same name."""
MADE_FROM = "product.json"
"""Stage -> its done.json when `balanced` was written."""


def export_product(run: Path, out: Path) -> Path:
    """Copy `CONTENTS` into `out`, whole or not at all, and return it.

    DDBError: the run is not finished, its contents do not belong to its present stages, or `out` is not empty or cannot
    be written."""
    if left := _left(Workspace.at(run)):
        raise DDBError(f"{run}: the run is not finished ({left}); finish it with `ddb run`")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DDBError(f"{out} is there already: name a new folder")
    draft = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        for name in CONTENTS:
            copy = shutil.copytree if (run / name).is_dir() else shutil.copyfile
            copy(run / name, draft / name)
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except OSError as error:
        raise DDBError(f"{out} cannot be written: {_reason(error)}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _left(workspace: Workspace) -> str:
    """What is missing, or was made from other results than those of the present stages; "" where all is there."""
    for stage in describe(workspace)["stages"]:
        if stage["state"] != "finished":
            return f"{stage['stage']} is {stage['state']}"
    for name in CONTENTS:
        if not (workspace.root / name).exists():
            return f"{name} is missing"
    made_from = read_json(workspace.root / MADE_FROM) or {}
    stages = [name for name in workspace.stages if name in made_from]
    if not stages or any(made_from[name] != read_json(workspace.folder(name) / "done.json") for name in stages):
        return "balanced was made with other settings"
    if not filecmp.cmp(workspace.root / "metrics.json", workspace.folder("evaluate") / "metrics.json", shallow=False):
        return "metrics.json was made with other settings"
    own, fitted = workspace.root / "classifier", workspace.folder("retrain") / "classifier"
    files = [path.name for path in fitted.iterdir() if path.is_file()]
    if filecmp.cmpfiles(own, fitted, files, shallow=False)[0] != files:
        return "classifier was made with other settings"
    return ""


def _reason(error: OSError) -> str:
    """`shutil.copytree` goes on after an error and raises all of them as (source, target, reason): the first one's."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, _, reason = error.args[0][0]
        return f"{reason} ({source})"
    return error.strerror or str(error)
