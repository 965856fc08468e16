"""What each stage of a run has done so far, how long it took, and which of its rows failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ddb.records import ERROR
from ddb.report.reading import STAGES, Run
from ddb.stage import Row

STAGE_WORDS = {
    "erm": "train the plain classifier",
    "invert": "learn one token a class",
    "segment": "find the causal part",
    "inpaint": "paint counterfactuals",
    "score": "score them",
    "prune": "decide which to keep",
    "retrain": "train on the balanced data",
    "evaluate": "measure both classifiers",
}


@dataclass(frozen=True)
class StageLine:
    name: str
    words: str
    state: str
    rows: int
    seconds: float | None


def stage_lines(run: Run) -> list[StageLine]:
    seconds = _stage_seconds(run.workspace.events())
    lines = []
    for stage in STAGES:
        rows = run.rows(stage, ("status",))
        state = "done" if run.done(stage) else "begun" if rows else "not run"
        lines.append(StageLine(stage, STAGE_WORDS[stage], state, len(rows), seconds.get(stage)))
    return lines


def failed_rows(run: Run) -> list[tuple[str, int, str]]:
    """(stage, number of rows that failed, the first one's message) for the stages that have any."""
    found = []
    for stage in STAGES:
        failed: list[Row] = [row for row in run.rows(stage, ("status", "error")) if row["status"] == ERROR]
        if failed:
            found.append((stage, len(failed), failed[0]["error"]))
    return found


def _stage_seconds(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Wall time of each stage over all the sittings that led to its rows. A sitting that was killed has no last
    event: its parts stand for it."""
    total: dict[str, float] = {}
    unended: dict[str, float] = {}
    for event in events:
        stage, kind, seconds = event.get("stage"), event.get("event"), event.get("seconds")
        if not isinstance(stage, str):
            continue
        if kind == "stale":
            total[stage] = unended[stage] = 0.0
        elif kind == "part" and isinstance(seconds, int | float):
            unended[stage] = unended.get(stage, 0.0) + seconds
        elif kind == "started":
            total[stage] = total.get(stage, 0.0) + unended.pop(stage, 0.0)
        elif kind in ("finished", "failed", "interrupted") and isinstance(seconds, int | float):
            total[stage] = total.get(stage, 0.0) + seconds
            unended.pop(stage, None)
    return {stage: total.get(stage, 0.0) + unended.get(stage, 0.0) for stage in {*total, *unended}}
