"""Runs one stage: skips, resumes or computes it, and counts its failed rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ddb.engine import files, journal, local
from ddb.engine.buffer import Buffer
from ddb.engine.interrupt import shielded
from ddb.engine.layout import PLAN, PLANNED
from ddb.engine.local import Engine
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import TRACEBACK, Batch, Fixed, Row, Stage, Worker

ENVIRONMENT = ("device", "dtype", "ddb")
"""Fields of `Fixed` with which a stage must have begun to be resumed, unless `Policy.resume_elsewhere` allows
others."""


@dataclass(frozen=True)
class Policy:
    """`max_error_rate`: share of planned rows that may fail. `resume_elsewhere`: "refuse" or "continue" where a stage
    has rows that were computed on another kind of device, in another dtype or by another version of ddb."""

    max_error_rate: float = 0.05
    resume_elsewhere: str = "refuse"


def as_set(stage: Stage, planned: int, fixed: Fixed) -> Fixed:
    """The values with which a stage begins that chooses none."""
    return replace(fixed, batch_size=stage.batch_size)


@dataclass(frozen=True)
class Setup:
    """Inputs of all stages' runs. `stages`: all of them, in order; `open_worker`: opens a stage's worker with the
    `Fixed` values of its plan; `fixed`: values for a stage that opens for the first time; `choose`: the values with
    which a stage that plans so many rows begins, from those."""

    stages: Sequence[Stage]
    open_worker: Callable[[Stage, Workspace, Fixed], Worker]
    fixed: Fixed
    progress: Progress
    policy: Policy = field(default_factory=Policy)
    engine: Callable[[str], Engine] = lambda stage: local.execute
    choose: Callable[[Stage, int, Fixed], Fixed] = as_set


def run_stage(workspace: Workspace, name: str, setup: Setup) -> bool:
    """Compute a stage's missing rows, and those with an error again. False where nothing had to be computed.

    Raises StageFailed (too many errors, a needed stage unfinished, another environment), DDBError (disk full)."""
    stage = next(stage for stage in setup.stages if stage.name == name)
    workspace.settle(setup.stages)
    for need in stage.needs:
        if workspace.done(need) is None:
            raise StageFailed(f"stage {name} needs the results of {need}, which is not finished: run {need} first.")
    plan = stage.plan(workspace)
    if len(set(plan)) != len(plan):
        raise StageFailed(f"stage {name} planned an id twice: a bug in the stage")
    rows = workspace.rows(name)
    left = {item for item in plan if item not in rows or rows[item]["status"] == ERROR}
    if not left and _in_order(workspace, name, plan):
        skip(workspace, name, len(plan), setup.progress)
        return False
    fixed = _fixed(workspace, stage, setup, len(plan), bool(left))
    with shielded():
        workspace.settle(setup.stages, unfinished=name)
        workspace.begin(stage, plan, fixed)
    buffer = Buffer(workspace, stage)
    with _told(workspace, setup.progress, buffer, len(plan), len(left)):
        _compute(buffer, setup, fixed, _batches(plan, left, fixed.batch_size), len(plan))
        _finish(workspace, stage, setup, plan)
    return True


def is_finished(workspace: Workspace, stage: Stage) -> bool:
    """Whether the stage, of a settled workspace, is finished and has the rows of its present plan, none with an error.
    Raises StageFailed where a needed stage is not finished."""
    plan, rows = stage.plan(workspace), workspace.rows(stage.name)
    complete = all(item in rows and rows[item]["status"] != ERROR for item in plan)
    return complete and _in_order(workspace, stage.name, plan)


def skip(workspace: Workspace, name: str, planned: int, progress: Progress) -> None:
    """Record and show that a stage was finished before."""
    journal.event(workspace.root, "skipped", stage=name)
    progress.skip(name, planned)


def _in_order(workspace: Workspace, name: str, plan: Sequence[str]) -> bool:
    return workspace.done(name) is not None and workspace.table(name, ["id"])["id"].to_pylist() == plan


@contextmanager
def _told(workspace: Workspace, progress: Progress, buffer: Buffer, planned: int, left: int) -> Iterator[None]:
    """Show and record the beginning and the end of a stage. A full disk becomes a DDBError; the notes of an error (the
    traceback in another process) are written to errors.log."""
    name, folder = buffer.stage.name, workspace.folder(buffer.stage.name)
    started, state = time.monotonic(), "failed"
    journal.event(workspace.root, "started", stage=name, result=folder.name, planned=planned, left=left)
    progress.start(name, planned, planned - left)
    try:
        yield
        state = "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except DDBError as error:
        for note in getattr(error, "__notes__", ()):
            journal.failure(workspace.root, name, "", note)
        raise
    except OSError as error:
        raise (files.disk_full(folder) if files.is_disk_full(error) else error) from error
    finally:
        progress.stop(state)
        seconds = round(time.monotonic() - started, 3)
        journal.event(workspace.root, state, stage=name, result=folder.name, seconds=seconds, rows=buffer.computed)


def _fixed(workspace: Workspace, stage: Stage, setup: Setup, planned: int, anything_left: bool) -> Fixed:
    """The `Fixed` values of the stage: those it began with, or the present ones where it begins now. StageFailed where
    the environment differs from that of the plan, unless the policy is "continue". Other differences are shown."""
    plan, folder = workspace.plan(stage.name), workspace.folder(stage.name)
    if plan is None or {path.name for path in folder.iterdir()} <= {PLAN, PLANNED}:
        return setup.choose(stage, planned, setup.fixed)
    before = Fixed(**plan["fixed"])
    chosen = {name: getattr(before, name) for name in stage.chosen}
    now = replace(as_set(stage, planned, setup.fixed), **chosen)
    if not anything_left or before == now:
        return before
    kept = {key: value for key, value in asdict(before).items() if key not in ENVIRONMENT}
    goes_on = replace(now, **kept)
    if words := _changes(before, goes_on):
        if setup.policy.resume_elsewhere == "refuse":
            raise StageFailed(
                f"{folder}: stage {stage.name} began elsewhere ({words}), and rows computed there and here would be "
                "mixed. Go on there, or allow it with --set resume_elsewhere=continue, or choose another --out."
            )
        setup.progress.say(f"{stage.name}: goes on elsewhere than it began ({words})")
        journal.event(workspace.root, "continued", stage=stage.name, result=folder.name, why=words)
    if words := _changes(now, goes_on):
        setup.progress.say(f"{stage.name}: goes on as it began ({words})")
    return goes_on


def _changes(before: Fixed, after: Fixed) -> str:
    """`device cpu -> cuda, ...`; empty where both are the same."""
    old, new = asdict(before), asdict(after)
    return ", ".join(f"{key} {old[key]} -> {new[key]}" for key in old if old[key] != new[key])


def _compute(buffer: Buffer, setup: Setup, fixed: Fixed, batches: Sequence[Batch], planned: int) -> None:
    """Compute the batches with the engine and write their rows."""
    if not batches:
        return
    workspace, stage = buffer.workspace, buffer.stage
    failed: list[Row] = []
    allowed = setup.policy.max_error_rate * planned
    try:
        engine = setup.engine(stage.name)
        setup.progress.opening()
        for rows in engine(lambda: _opened(workspace, stage, setup, fixed), batches):
            errors = [row for row in rows if row["status"] == ERROR]
            for row in errors:
                journal.event(workspace.root, "row_failed", stage=stage.name, id=row["id"], error=row["error"])
                journal.failure(workspace.root, stage.name, stage.title(row["id"]), row.pop(TRACEBACK, row["error"]))
            buffer.add(rows)
            failed += ({"title": stage.title(row["id"]), "error": row["error"]} for row in errors)
            setup.progress.advance(len(rows), len(errors))
            if buffer.due():
                buffer.flush()
            if len(failed) > allowed:
                break
    finally:
        buffer.flush()
    if len(failed) > allowed:
        raise _too_many(workspace.root, stage.name, failed, planned, setup.policy)


def _opened(workspace: Workspace, stage: Stage, setup: Setup, fixed: Fixed) -> Worker:
    worker = setup.open_worker(stage, workspace, fixed)
    setup.progress.opened()
    return worker


def _batches(plan: Sequence[str], left: Set[str], size: int) -> list[Batch]:
    """Batches with fixed borders in the plan; the slot of an existing row is empty. The last bits of a result can
    depend on the batch's shape and on the position in it, so a resumed stage uses the batches of an uninterrupted
    one."""
    batches: list[Batch] = []
    for start in range(0, len(plan), size):
        names = plan[start : start + size]
        if any(name in left for name in names):
            batches.append([name if name in left else None for name in names])
    return batches


def _too_many(root: Path, name: str, failed: Sequence[Row], planned: int, policy: Policy) -> DDBError:
    first = "; ".join(f"{row['title']}: {row['error']}" for row in failed[:3])
    return StageFailed(
        f"stage {name}: {len(failed)} of {planned} rows failed, more than max_error_rate={policy.max_error_rate:g} "
        f"allows. First: {first}. Mend the cause and run again: only failed rows are repeated. "
        f"Tracebacks: {root / journal.ERRORS}"
    )


def _finish(workspace: Workspace, stage: Stage, setup: Setup, plan: Sequence[str]) -> None:
    with shielded():
        workspace.compact(stage, plan)
    if stage.finish is not None:
        with workspace.ending(stage.name):
            stage.finish(workspace, workspace.folder(stage.name))
    with shielded():
        workspace.write_done(stage)
        workspace.settle(setup.stages)
