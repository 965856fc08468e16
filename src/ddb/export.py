"""`ddb export`: classifier, balanced data set and figures of a finished run, without how they came about. The
classifier's folder is one that timm and transformers load, with a model card."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError
from ddb.models.roles import wanted
from ddb.report.model_card import base_weights, model_card
from ddb.report.reading import Run
from ddb.run_folder import is_up_to_date

CONTENTS = ("balanced", "classifier", "metrics.json")
"""What is copied from the run folder."""


def export_run(run: Path, out: Path) -> Path:
    """Copy `CONTENTS` and a model card into `out`, whole or not at all. Raises DDBError: not a finished run, or `out`
    is not empty."""
    workspace = Workspace.at(run)
    stages = describe(workspace)["stages"]
    left = [f"{stage['stage']} is {stage['state']}" for stage in stages if stage["state"] != "finished"]
    left += [f"{name} is not written yet" for name in CONTENTS if not is_up_to_date(workspace, name)]
    if left:
        raise DDBError(f"{run}: the run is not finished ({left[0]}); finish it with `ddb run`")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DDBError(f"{out} is there already: name a new folder")
    draft = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        for name in CONTENTS:
            copy = shutil.copytree if (run / name).is_dir() else shutil.copyfile
            copy(run / name, draft / name)
        (draft / "classifier" / "README.md").write_text(_card(workspace), "utf-8")
        if out.exists():
            out.rmdir()
        os.replace(draft, out)
    except OSError as error:
        raise DDBError(f"{out} cannot be written: {_reason(error)}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _card(workspace: Workspace) -> str:
    """The model card of the run's classifier."""
    run = Run(workspace)
    name = base_weights(run)
    base = wanted(name)
    shipped = "Apache-2.0, as ddb" if name == "pocket" else ""
    return model_card(run, base.role.licence if base and base.role else shipped)


def _reason(error: OSError) -> str:
    """`shutil.copytree` goes on after an error and raises all of them as (source, target, reason): the first one's."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        source, _, reason = error.args[0][0]
        return f"{reason} ({source})"
    return error.strerror or str(error)
