"""The state of each stage of a run, how long it took, and which of its rows failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ddb.engine import journal
from ddb.records import ERROR
from ddb.report.reading import STAGES, Run

STAGE_WORDS = {
    "erm": "train the plain classifier",
    "invert": "learn one token per class",
    "segment": "segment the object in each source image",
    "inpaint": "paint the counterfactuals",
    "score": "score the counterfactuals",
    "prune": "decide which ones are kept",
    "retrain": "train on the balanced data",
    "evaluate": "measure both classifiers",
}
FINISHED, NOT_STARTED = "finished", "not started"


@dataclass(frozen=True)
class StageLine:
    """A stage with what it does in words, its state, its number of rows (0 unless finished) and its wall time in
    seconds (None where no time is known)."""

    name: str
    words: str
    state: str
    rows: int
    seconds: float | None


def stage_lines(run: Run) -> list[StageLine]:
    """One line per stage, in order; rows and times are those of the present settings."""
    seconds = _stage_seconds(run)
    lines = []
    for stage in STAGES:
        done = stage in run.finished
        state = FINISHED if done else run.states.get(stage, NOT_STARTED)
        rows = run.table(stage, ("id",)).num_rows
        given = stage == "erm" and bool(run.json("adopted.json", "erm"))
        words = "score the given classifier" if given else STAGE_WORDS[stage]
        lines.append(StageLine(stage, words, state, rows, seconds.get(stage)))
    return lines


def failed_rows(run: Run) -> list[tuple[str, int, str]]:
    """(stage, number of failed rows, message of the first one) for the finished stages that have failed rows."""
    found = []
    for stage in run.finished:
        failed = [error for status, error in run.rows(stage, ("status", "error")) if status == ERROR]
        if failed:
            found.append((stage, len(failed), failed[0]))
    return found


def _stage_seconds(run: Run) -> dict[str, float]:
    """Stage -> wall time of all its starts under the present settings. Events of another result do not count."""
    own = {stage: run.result(stage) for stage in STAGES}
    events = [event for event in journal.events(run.folder) if event.get("stage") in own]
    return _summed(event for event in events if event.get("result") == own[event["stage"]])


def _summed(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Stage -> seconds. A start that was killed has no closing event: the times of its parts are summed instead."""
    total: dict[str, float] = {}
    open_parts: dict[str, float] = {}
    for event in events:
        stage, kind, seconds = event["stage"], event.get("event"), event.get("seconds")
        if kind == "part" and isinstance(seconds, int | float):
            open_parts[stage] = open_parts.get(stage, 0.0) + seconds
        elif kind == "started":
            total[stage] = total.get(stage, 0.0) + open_parts.pop(stage, 0.0)
        elif kind in ("finished", "failed", "interrupted") and isinstance(seconds, int | float):
            total[stage] = total.get(stage, 0.0) + seconds
            open_parts.pop(stage, None)
    return {stage: total.get(stage, 0.0) + open_parts.get(stage, 0.0) for stage in {*total, *open_parts}}
