"""Run folders of ddb with other settings: finished stages are taken over, the others run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ddb import pipeline
from ddb.bench.fits.trial import Trial
from ddb.config import RunConfig
from ddb.engine.progress import Progress
from ddb.engine.runner import Policy, run_stage
from ddb.engine.workspace import Workspace
from ddb.stage import Stage

Change = Callable[[dict[str, Stage]], dict[str, Stage]]
TAKEN = ".taken"


def take_over(base: Path, out: Path, stages: Sequence[str]) -> Path:
    """Give `out` the finished stages of `base` (as links: a stage's files are replaced, never written into) and its
    cache. A stage that `base` has made again since is taken over again. A kill leaves no half of a stage."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "cache").exists():
        (out / "cache").unlink(missing_ok=True)
        (out / "cache").symlink_to(os.path.relpath((base / "cache").resolve(), out.resolve()), target_is_directory=True)
    for number, name in enumerate(pipeline.STAGES, start=1):
        folder = f"{number}-{name}"
        if name in stages and not _same(base / folder, out / folder):
            shutil.rmtree(out / TAKEN, ignore_errors=True)
            shutil.rmtree(out / folder, ignore_errors=True)
            shutil.copytree(base / folder, out / TAKEN, copy_function=os.link)
            os.replace(out / TAKEN, out / folder)
    return out


def _same(base: Path, out: Path) -> bool:
    """Whether `out` is what `base` has finished."""
    done = out / "done.json"
    return done.exists() and done.read_bytes() == (base / "done.json").read_bytes()


def run_stages(
    trial: Trial,
    config: RunConfig,
    folder: Path,
    names: Sequence[str],
    progress: Progress,
    change: Change = lambda stages: stages,
) -> Workspace:
    """Run these stages alone, as `config` says and as `change` changes them; those before them must be there."""
    workspace = Workspace(folder, pipeline.STAGES)
    with workspace.locked():
        stages = change(pipeline.build_stages(config, trial.dataset, workspace))
        for name in names:
            run_stage(workspace, stages[name], progress, Policy(config.max_error_rate))
    return workspace


def upto(stage: str) -> tuple[str, ...]:
    """The stages up to and with this one."""
    return pipeline.STAGES[: pipeline.STAGES.index(stage) + 1]
