"""Runs one stage: skips it, goes on with it, refuses or replaces it as stale, counts its failures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from ddb.engine import files, local
from ddb.engine.interrupt import shielded
from ddb.engine.local import Engine
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, StageFailed, StaleStage
from ddb.records import ERROR
from ddb.stage import Row, Stage

PART_SECONDS = 5.0
PART_ROWS = 1024


@dataclass(frozen=True)
class Policy:
    """`max_error_rate`: share of planned rows that may fail; `replace_stale`: recompute results of other settings."""

    max_error_rate: float = 0.05
    replace_stale: bool = True


def run_stage(
    workspace: Workspace,
    stage: Stage,
    progress: Progress,
    policy: Policy | None = None,
    engine: Engine = local.execute,
) -> bool:
    """Bring a stage to its end: rows that exist are kept, rows with an error are tried again. False: nothing was left.

    Raises StageFailed (too many errors, or a needed stage unfinished), StaleStage, DDBError (disk full)."""
    policy = policy or Policy()
    for name in stage.needs:
        if workspace.done(name) is None:
            raise StageFailed(
                f"stage {stage.name} needs the results of {name}, which is not finished: run {name} first."
            )
    fingerprint = workspace.fingerprint(stage)
    _settle_stale(workspace, stage, fingerprint, policy)
    plan = stage.plan(workspace)
    if len(set(plan)) != len(plan):
        raise StageFailed(f"stage {stage.name} planned an id twice: a bug in the stage")
    rows = workspace.rows(stage.name)
    left = [name for name in plan if name not in rows or rows[name]["status"] == ERROR]
    if not left and list(rows) == plan and workspace.done(stage.name):
        workspace.event("skipped", stage=stage.name)
        progress.skip(stage.name, len(plan))
        return False
    started = time.monotonic()
    with shielded():
        workspace.begin(stage, fingerprint, len(plan))
        workspace.event("started", stage=stage.name, planned=len(plan), left=len(left))
    progress.start(stage.name, len(plan), len(plan) - len(left))
    state = "failed"
    try:
        _compute(workspace, stage, progress, policy, engine, plan, left)
        _finish(workspace, stage, fingerprint, plan)
        state = "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except OSError as error:
        raise (files.disk_full(workspace.folder(stage.name)) if files.is_disk_full(error) else error) from error
    finally:
        progress.stop(state)
        workspace.event(state, stage=stage.name, seconds=round(time.monotonic() - started, 3), rows=len(left))
    return True


def _settle_stale(workspace: Workspace, stage: Stage, fingerprint: str, policy: Policy) -> None:
    """Remove rows that were made from other settings or inputs, or refuse to."""
    plan = workspace.plan(stage.name)
    if plan is None and not workspace.parts(stage.name):
        return
    if plan is not None and plan["fingerprint"] == fingerprint:
        return
    why = _difference(plan or {}, dict(stage.settings), workspace.needs(stage))
    if not policy.replace_stale:
        raise StaleStage(
            f"{workspace.folder(stage.name)}: made with other settings or inputs ({why}). "
            "Choose another --out, or allow replacing with --set replace_stale=true."
        )
    with shielded():
        workspace.event("stale", stage=stage.name, why=why)
        workspace.clear(stage.name)


def _difference(plan: Mapping[str, object], settings: Mapping[str, object], needs: Mapping[str, str]) -> str:
    """The first few settings and inputs that changed, in words."""
    before, now = _flat(plan.get("settings", {})), _flat(settings)
    changed = [
        f"{key}: {before.get(key)} -> {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    old_needs = plan.get("needs", {})
    if isinstance(old_needs, Mapping):
        changed += [f"results of {name}" for name in needs if old_needs.get(name) != needs[name]]
    return (
        ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "") or "format of the table"
    )


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {prefix: str(list(value)) if isinstance(value, tuple) else str(value)}
    return {
        key: text
        for name, item in value.items()
        for key, text in _flat(item, f"{prefix}.{name}" if prefix else name).items()
    }


@dataclass
class _Buffer:
    """Rows on their way to the next part."""

    workspace: Workspace
    stage: Stage
    rows: list[Row] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        return len(self.rows) >= PART_ROWS or time.monotonic() - self.since >= PART_SECONDS

    def flush(self) -> None:
        """Write what is there. Where that fails, these rows are dropped and the parts before them stay."""
        rows, self.rows = self.rows, []
        if rows:
            with shielded():
                self.workspace.write_part(self.stage, rows)
                seconds = round(time.monotonic() - self.since, 3)
                self.workspace.event("part", stage=self.stage.name, rows=len(rows), seconds=seconds)
        self.since = time.monotonic()


def _compute(
    workspace: Workspace,
    stage: Stage,
    progress: Progress,
    policy: Policy,
    engine: Engine,
    plan: Sequence[str],
    left: Sequence[str],
) -> None:
    """Give the ids that are left to the engine and write what comes back."""
    if not left:
        return
    folder = workspace.folder(stage.name)
    batches = _batches(plan, set(left), stage.batch_size)
    buffer, failed = _Buffer(workspace, stage), []
    try:
        for rows in engine(lambda: stage.open(workspace, folder), batches):
            buffer.rows += rows
            errors = [row for row in rows if row["status"] == ERROR]
            for row in errors:
                workspace.event("row_failed", stage=stage.name, id=row["id"], error=row["error"])
            failed += errors
            progress.advance(len(rows), len(errors))
            if buffer.due():
                buffer.flush()
            if len(failed) > policy.max_error_rate * len(plan):
                break
    finally:
        buffer.flush()
    if len(failed) > policy.max_error_rate * len(plan):
        raise _too_many(stage.name, failed, len(plan), policy)


def _batches(plan: Sequence[str], left: Set[str], size: int) -> Iterator[list[str]]:
    """Batches with fixed borders in the plan, less the ids that are done: a float's last bits can depend on the batch
    that it was computed in, and whole batches are written, so a resumed stage forms those of an unbroken one."""
    for start in range(0, len(plan), size):
        if ids := [name for name in plan[start : start + size] if name in left]:
            yield ids


def _too_many(name: str, failed: Sequence[Row], planned: int, policy: Policy) -> DDBError:
    first = "; ".join(f"{row['id']}: {row['error']}" for row in failed[:3])
    return StageFailed(
        f"stage {name}: {len(failed)} of {planned} rows failed, more than max_error_rate={policy.max_error_rate:g} "
        f"allows. First: {first}. Mend the cause and run again: only failed rows are repeated."
    )


def _finish(workspace: Workspace, stage: Stage, fingerprint: str, plan: Sequence[str]) -> None:
    with shielded():
        workspace.compact(stage, plan)
    if stage.finish is not None:
        stage.finish(workspace, workspace.folder(stage.name))
    with shielded():
        workspace.write_done(stage.name, fingerprint)
