"""The state of a run folder: for each stage the done and missing rows. Reads tables and plans, no models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ddb.engine import journal
from ddb.engine.clean import size_of
from ddb.engine.journal import Work
from ddb.engine.progress import clock
from ddb.engine.workspace import Workspace
from ddb.records import ERROR


def describe(workspace: Workspace) -> dict[str, Any]:
    """{"folder", "finished", "stages": a dict per stage with the keys below}, JSON-able.

    stage, folder, state, planned, done, errors, left, statuses, others. `state`: "not started", "unfinished",
    "finished", or "waiting" where the stages that it is made from are to be computed first. `folder`: of the result
    that the present settings use ("" while waiting). Of the planned rows `done` have a result, `errors` are tried again
    by the next run, `left` are missing or have an error; `planned` and `left` are None, and all rows of the result are
    counted, before the stage starts with its present plan. `others`: results of other settings that are kept, each with
    folder, rows, seconds and bytes.
    """
    workspace, history = workspace.as_now(), journal.history(workspace.root)
    stages = [_stage(workspace, name, history) for name in workspace.stages]
    return {
        "folder": str(workspace.root),
        "finished": all(stage["state"] == "finished" for stage in stages),
        "stages": stages,
    }


def in_words(state: dict[str, Any]) -> str:
    """The state as lines for people."""
    lines = [state["folder"]]
    for stage in state["stages"]:
        counts = f"{stage['done']} rows so far" if stage["done"] else ""
        counts = counts if stage["planned"] is None else f"{stage['done']} of {stage['planned']} rows"
        notes = [f"{stage['errors']} with an error"] if stage["errors"] else []
        notes += [f"{number} {status}" for status, number in stage["statuses"].items() if status not in ("ok", ERROR)]
        lines.append(f"  {stage['stage']:<10} {stage['state']:<12} {', '.join([counts, *notes]).strip(', ')}".rstrip())
        for other in stage["others"]:
            took = f", {clock(other['seconds'])}" if other["seconds"] else ""
            size = f"{other['bytes'] / 1e6:.1f} MB"
            lines.append(f"    of other settings: {other['folder']} ({other['rows']} rows{took}, {size})")
    if old := [name for name, present in state.get("addresses", {}).items() if not present]:
        lines.append(f"  made from earlier results: {', '.join(old)}; `ddb run` writes them anew at its end")
    return "\n".join(lines)


def _stage(workspace: Workspace, name: str, history: Sequence[Work]) -> dict[str, Any]:
    current, rows = workspace.current(name), workspace.rows(name)
    plan = workspace.planned(name)
    counted = rows if plan is None else [item for item in plan if item in rows]
    statuses = Counter(rows[item]["status"] for item in counted)
    done = statuses.total() - statuses[ERROR]
    return {
        "stage": name,
        "folder": workspace.result(name, current.fingerprint).relative_to(workspace.root).as_posix() if current else "",
        "state": _state(workspace, name),
        "planned": None if plan is None else len(plan),
        "done": done,
        "errors": statuses[ERROR],
        "left": None if plan is None else len(plan) - done,
        "statuses": dict(sorted((status, number) for status, number in statuses.items() if number)),
        "others": _others(workspace, name, history),
    }


def _state(workspace: Workspace, name: str) -> str:
    if workspace.current(name) is None:
        return "waiting" if workspace.results(name) else "not started"
    if workspace.plan(name) is None:
        return "not started"
    return "finished" if workspace.done(name) else "unfinished"


def _others(workspace: Workspace, name: str, history: Sequence[Work]) -> list[dict[str, Any]]:
    current = workspace.current(name)
    own = workspace.result(name, current.fingerprint) if current else None
    seconds = {work.result: work.seconds for work in history if work.stage == name}
    return [
        {
            "folder": folder.relative_to(workspace.root).as_posix(),
            "rows": workspace.count(folder),
            "seconds": seconds.get(folder.name, 0.0),
            "bytes": size_of(folder),
        }
        for folder in workspace.results(name)
        if folder != own
    ]
