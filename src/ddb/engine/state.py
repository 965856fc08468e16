"""What a run folder says about itself: per stage, what is done and what is left. Reads tables and plans, no models."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ddb.engine.workspace import Workspace
from ddb.records import ERROR


def describe(workspace: Workspace) -> dict[str, Any]:
    """{"folder", "finished", "stages": a dict per stage with the keys below}, JSON-able.

    stage, folder, state, planned, done, errors, left, statuses. `state`: "not started", "unfinished", "finished", or
    "stale" where the results it was made from are no longer there or were made anew. `done` counts rows with a result,
    `errors` those that the next run tries again, `left` is what is missing of `planned` (None before the stage starts).
    """
    stages: list[dict[str, Any]] = []
    stale: set[str] = set()
    for name in workspace.stages:
        stages.append(_stage(workspace, name, stale))
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
        lines.append(f"  {stage['folder']:<12} {stage['state']:<12} {', '.join([counts, *notes]).strip(', ')}".rstrip())
    return "\n".join(lines)


def _stage(workspace: Workspace, name: str, stale: set[str]) -> dict[str, Any]:
    """`stale` collects the names of stale stages: what was made from them is stale as well."""
    plan, done = workspace.plan(name), workspace.done(name)
    statuses = Counter(row["status"] for row in workspace.rows(name).values())
    state = "not started" if plan is None else "finished" if done else "unfinished"
    if plan is not None and any(
        need in stale or not _fits(workspace, need, mark) for need, mark in plan["needs"].items()
    ):
        state = "stale"
        stale.add(name)
    planned, rows = plan["planned"] if plan else None, sum(statuses.values())
    return {
        "stage": name,
        "folder": workspace.folder(name).name,
        "state": state,
        "planned": planned,
        "done": rows - statuses[ERROR],
        "errors": statuses[ERROR],
        "left": None if planned is None else max(planned - rows + statuses[ERROR], 0),
        "statuses": dict(sorted(statuses.items())),
    }


def _fits(workspace: Workspace, need: str, mark: str) -> bool:
    """True where the needed stage still is what it was: `mark` is a fingerprint, with its table's digest or without."""
    plan, done = workspace.plan(need), workspace.done(need)
    if ":" not in mark:
        return plan is not None and plan["fingerprint"] == mark
    return done is not None and f"{done.fingerprint}:{done.digest}" == mark
