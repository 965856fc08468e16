"""What a run folder says about itself: per stage, what is done and what is left. Reads tables and plans, no models."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ddb.engine import journal
from ddb.engine.clean import size_of
from ddb.engine.progress import clock
from ddb.engine.workspace import Workspace
from ddb.records import ERROR


def describe(workspace: Workspace) -> dict[str, Any]:
    """{"folder", "finished", "stages": a dict per stage with the keys below}, JSON-able.

    stage, folder, state, planned, done, errors, left, statuses, others. `state`: "not started", "unfinished",
    "finished", or "waiting" where the stages that it is made from are to be computed first. `folder`: of the result
    that the present settings use ("" while waiting). `done` counts rows with a result, `errors` those that the next run
    tries again, `left` is what is missing of `planned` (None before the stage starts). `others`: results of other
    settings that are kept, each with folder, rows, seconds and bytes.
    """
    stages = [_stage(workspace, name) for name in workspace.stages]
    return {
        "folder": str(workspace.root),
        "finished": all(stage["state"] == "finished" for stage in stages),
        "stages": stages,
    }


def in_words(state: dict[str, Any]) -> str:
    """The same as lines for people."""
    lines = [state["folder"]]
    for stage in state["stages"]:
        counts = "" if stage["planned"] is None else f"{stage['done']} of {stage['planned']} rows"
        notes = [f"{stage['errors']} with an error"] if stage["errors"] else []
        notes += [f"{number} {status}" for status, number in stage["statuses"].items() if status not in ("ok", ERROR)]
        lines.append(f"  {stage['stage']:<10} {stage['state']:<12} {', '.join([counts, *notes]).strip(', ')}".rstrip())
        for other in stage["others"]:
            took = f", {clock(other['seconds'])}" if other["seconds"] else ""
            size = f"{other['bytes'] / 1e6:.1f} MB"
            lines.append(f"    of other settings: {other['folder']} ({other['rows']} rows{took}, {size})")
    return "\n".join(lines)


def _stage(workspace: Workspace, name: str) -> dict[str, Any]:
    current, plan = workspace.current(name), workspace.plan(name)
    rows = workspace.rows(name)
    statuses = Counter(row["status"] for row in rows.values())
    planned, count = plan["planned"] if plan else None, sum(statuses.values())
    if current is None:
        state = "waiting" if workspace.results(name) else "not started"
    elif plan is None:
        state = "not started"
    else:
        state = "finished" if workspace.done(name) else "unfinished"
    return {
        "stage": name,
        "folder": workspace.result(name, current.fingerprint).relative_to(workspace.root).as_posix() if current else "",
        "state": state,
        "planned": planned,
        "done": count - statuses[ERROR],
        "errors": statuses[ERROR],
        "left": None if planned is None else max(planned - count + statuses[ERROR], 0),
        "statuses": dict(sorted(statuses.items())),
        "others": _others(workspace, name),
    }


def _others(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    current = workspace.current(name)
    own = workspace.result(name, current.fingerprint) if current else None
    events = [one for one in journal.events(workspace.root) if one.get("stage") == name and "seconds" in one]
    return [
        {
            "folder": folder.relative_to(workspace.root).as_posix(),
            "rows": workspace.count(folder),
            "seconds": sum(one["seconds"] for one in events if one.get("result") == folder.name),
            "bytes": size_of(folder),
        }
        for folder in workspace.results(name)
        if folder != own
    ]
