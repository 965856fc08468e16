"""Refill (method section 6): which rejected sources are painted again, as a pure function of the scores so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from ddb.config import RunConfig
from ddb.data.table import Dataset
from ddb.engine.workspace import Workspace
from ddb.learn import selection
from ddb.learn.selection import Direction
from ddb.records import CANDIDATES, OK, SCORES
from ddb.stage import Row
from ddb.stages import inpaint, prune

CANDIDATE_COLUMNS = ("id", "source_id", "from_label", "to_label", "variant", "prompt", "status")
SCORE_COLUMNS = ("id", "psi_from", "psi_to", "psi_from_source", "rho", "status")


def retries(workspace: Workspace, dataset: Dataset, config: RunConfig) -> list[tuple[str, int]]:
    """(source_id, variant) of all refill rounds that follow from the scores so far; at most prune.max_rounds - 1
    rounds.

    A round has verdicts when each of its candidates is scored (or failed). Before that no round is added, so the result
    is the same for an interrupted and an uninterrupted run."""
    if config.prune.max_rounds == 1:
        return []
    predictions, classes = workspace.table("erm"), len(dataset.classes)
    budgets = selection.budgets(predictions, classes, config.inpaint.per_class)
    means = selection.mean_probabilities(predictions)
    candidates = workspace.rows("inpaint", CANDIDATE_COLUMNS)
    scores = workspace.rows("score", SCORE_COLUMNS)
    asked: list[tuple[str, int]] = []
    for variant in range(1, config.prune.max_rounds):
        planned = inpaint.plan(dataset, workspace, config.inpaint.per_class, lambda _: asked)  # noqa: B023
        if not all(_is_complete(name, candidates, scores) for name in planned):
            return asked
        painted = [name for name in planned if candidates[name]["status"] == OK]
        verdicts = prune.decide(
            _table((scores[name] for name in painted), SCORES, SCORE_COLUMNS),
            _table((candidates[name] for name in painted), CANDIDATES, CANDIDATE_COLUMNS),
            means,
            config.prune,
            budgets,
        )
        more = rejected_sources(verdicts, candidates, budgets)
        if not more:
            return asked
        asked = [*asked, *((source, variant) for source in more)]
    return asked


def rejected_sources(verdicts: Sequence[Row], candidates: dict[str, Row], budgets: dict[Direction, int]) -> list[str]:
    """Sources to paint again: those without a kept image, in the order of the verdicts. Their number in each direction
    is the number of missing images divided by the direction's share of kept images (all sources where that is 0)."""
    kept: dict[Direction, set[str]] = defaultdict(set)
    seen: dict[Direction, dict[str, None]] = defaultdict(dict)
    passed: dict[Direction, int] = defaultdict(int)
    tried: dict[Direction, int] = defaultdict(int)
    for verdict in verdicts:
        row = candidates[verdict["id"]]
        direction = row["from_label"], row["to_label"]
        tried[direction] += 1
        seen[direction][row["source_id"]] = None
        if verdict.get("reason") in ("kept", "over_budget"):
            passed[direction] += 1
            kept[direction].add(row["source_id"])
    chosen: dict[str, None] = {}
    for direction, sources in seen.items():
        short = budgets.get(direction, 0) - passed[direction]
        if short > 0:
            open_sources = [source for source in sources if source not in kept[direction]]
            share = passed[direction] / tried[direction]
            count = math.ceil(short / share) if share else len(open_sources)
            chosen |= dict.fromkeys(open_sources[:count])
    return list(chosen)


def _is_complete(name: str, candidates: dict[str, Row], scores: dict[str, Row]) -> bool:
    row = candidates.get(name)
    return row is not None and (row["status"] != OK or name in scores)


def _table(rows: Iterable[Row], schema: pa.Schema, columns: Sequence[str]) -> Any:
    return pa.Table.from_pylist(list(rows), schema=pa.schema([schema.field(name) for name in columns]))
