"""The forecast of a run: for each stage the number of rows to compute, the reason, and the time by the last pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddb.engine import files, journal
from ddb.engine.identity import fingerprint_of, mark
from ddb.engine.journal import Work, latest
from ddb.engine.layout import PLAN
from ddb.engine.progress import clock
from ddb.engine.workspace import Workspace
from ddb.records import ERROR
from ddb.stage import Need, Stage


@dataclass(frozen=True)
class Outlook:
    """`planned` and `left`: numbers of rows, None where they follow from stages that are not computed yet (`after`).
    `why`: reason, empty for a first computation; `seconds`: estimate from the last pace, None where there is none."""

    stage: str
    planned: int | None
    left: int | None
    why: str
    seconds: float | None
    after: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether nothing has to be computed."""
        return self.left == 0 and not self.why


def forecast(workspace: Workspace, stages: Sequence[Stage]) -> list[Outlook]:
    """An outlook for each stage, in order, of a settled workspace."""
    history = journal.history(workspace.root)
    found: list[Outlook] = []
    changing: set[str] = set()
    for stage in stages:
        before = latest(history, stage.name)
        if awaited := tuple(name for name in stage.needs if name in changing):
            why = "what it is made from changes; the results before stay" if before else ""
            seconds = max((work.seconds for work in before), default=None)
            found.append(Outlook(stage.name, None, None, why, seconds, awaited))
        else:
            found.append(_outlook(workspace, stage, before))
        if not found[-1].kept:
            changing.add(stage.name)
    return found


def in_words(outlooks: Sequence[Outlook]) -> list[str]:
    """A line for each stage with rows to compute; one line for all others."""
    kept = [one.stage for one in outlooks if one.kept]
    lines = [f"kept: {', '.join(kept)}"] if kept else []
    return lines + [_line(one) for one in outlooks if not one.kept]


def difference(before: Mapping[str, Any], stage: Stage, marks: Mapping[str, str]) -> str:
    """The first few settings and inputs in which a result (its plan.json) differs from what the stage has now."""
    old, new = _flat(before.get("content", {})), _flat(stage.content)
    changed = [
        f"{key} {old.get(key)} -> {new.get(key)}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]
    read: Mapping[Need, Callable[[str], str]] = {Need.PLAN: lambda _: "", Need.ROWS: fingerprint_of, Need.TABLE: str}
    then = before.get("needs", {})
    changed += [
        f"results of {n}" for n, need in stage.needs.items() if read[need](then.get(n, "")) != read[need](marks[n])
    ]
    shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
    return shown or "rows of a needed stage"


def _outlook(workspace: Workspace, stage: Stage, before: Sequence[Work]) -> Outlook:
    plan, rows = stage.plan(workspace), workspace.rows(stage.name)
    left = [name for name in plan if name not in rows or rows[name]["status"] == ERROR]
    errors = sum(name in rows for name in left)
    why = ""
    if left and not rows:
        why = _changed(workspace, stage, before)
    elif errors:
        why = f"{errors} with an error are tried again"
    elif left:
        why = f"{len(plan) - len(left)} are there already"
    elif workspace.done(stage.name) is None:
        why = "to be brought into the order of the present plan"
    return Outlook(stage.name, len(plan), len(left), why, _estimate(before, len(left)))


def _changed(workspace: Workspace, stage: Stage, before: Sequence[Work]) -> str:
    """The reason for computing the stage although another result of it has rows; empty where there is none."""
    own = workspace.folder(stage.name)
    folders = [workspace.home(stage.name) / work.result for work in before if work.rows]
    other = next((folder for folder in folders if folder != own and (folder / PLAN).exists()), None)
    if other is None:
        return ""
    currents = {name: workspace.current(name) for name in stage.needs}
    marks = {name: mark(one.fingerprint, workspace.done(name)) if one else "" for name, one in currents.items()}
    return f"changed: {difference(files.read_json(other / PLAN) or {}, stage, marks)}; the results before stay"


def _estimate(before: Sequence[Work], left: int) -> float | None:
    """Seconds for `left` rows at the pace of the last computed result; None where no pace is known."""
    if left == 0:
        return None
    return next((work.seconds / work.rows * left for work in before if work.rows), None)


def _line(one: Outlook) -> str:
    if one.left is None:
        text = f"{one.stage}: after {' and '.join(one.after)}"
    elif one.left == 0:
        text = f"{one.stage}: no row to compute"
    else:
        text = f"{one.stage}: {one.left} of {one.planned} rows to compute"
    took = f", about {clock(one.seconds)} at the pace of last time" if one.seconds is not None else ""
    return text + took + (f" ({one.why})" if one.why else "")


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {prefix: str(list(value)) if isinstance(value, tuple) else str(value)}
    return {
        key: text
        for name, item in value.items()
        for key, text in _flat(item, f"{prefix}.{name}" if prefix else name).items()
    }
