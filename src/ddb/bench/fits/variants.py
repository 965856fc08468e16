"""Run folders of ddb with other settings: results of finished stages are linked into them, the other stages run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ddb import pipeline
from ddb.bench.fits.trial import Trial
from ddb.config import RunConfig
from ddb.engine import journal
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.pipeline import Change

TAKEN = ".taken"


def take_over(base: Path, out: Path, stages: Sequence[str]) -> Path:
    """Give `out` the present results of finished stages of `base` (as links: a result's files are replaced, never
    written into) and its cache. A kill leaves no half of a result."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "cache").exists():
        (out / "cache").unlink(missing_ok=True)
        (out / "cache").symlink_to(os.path.relpath((base / "cache").resolve(), out.resolve()), target_is_directory=True)
    workspace = Workspace(base, pipeline.STAGES)
    for name in stages:
        folder = workspace.folder(name)
        target = out / folder.relative_to(base)
        if workspace.done(name) is not None and not _same(folder, target):
            shutil.rmtree(out / TAKEN, ignore_errors=True)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(folder, out / TAKEN, copy_function=os.link)
            os.replace(out / TAKEN, target)
    return out


def _same(base: Path, out: Path) -> bool:
    """Whether `out` has the finished results of `base`."""
    done = out / "done.json"
    return done.exists() and done.read_bytes() == (base / "done.json").read_bytes()


def run_stages(
    trial: Trial,
    config: RunConfig,
    folder: Path,
    names: tuple[str, ...],
    progress: Progress,
    change: Change = pipeline.unchanged,
) -> Workspace:
    """Run these stages alone, with the settings `config`, modified by `change`. The stages before them must be
    finished."""
    with journal.locked(folder):
        workspace = Workspace(folder, pipeline.STAGES)
        setup = pipeline.set_up(config, trial.dataset, workspace, progress, change)
        pipeline.run_stages(workspace, names, setup, config.prune.max_rounds)
    return workspace


def upto(stage: str) -> tuple[str, ...]:
    """The stages up to and with this one."""
    return pipeline.STAGES[: pipeline.STAGES.index(stage) + 1]
