"""The study of the number of counterfactuals: one pool, painted for all amounts, and a prune stage on a part of it.

The unit is the size of the smaller class of a direction. Sources are used in the order of the method (lowest ERM loss
first), each once, then each again with a new variant. Candidates that the seed's run has painted are copied from it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ddb.bench.fits.trial import Trial
from ddb.config import PruneConfig, RunConfig
from ddb.context import Models
from ddb.learn.selection import Direction, budgets, majority, mean_probabilities, targets
from ddb.records import OK, candidate_id, split_candidate_id
from ddb.stage import Batch, Fixed, Row, Stage, Tables, Worker
from ddb.stages import prune

AMOUNTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
VARIANTS = 4


def pool_config(config: RunConfig) -> RunConfig:
    """Settings of the pool: the default budget of every direction, and no refill rounds, which depend on pruning."""
    tree = config.model_dump()
    tree["inpaint"]["per_class"] = None
    tree["prune"]["max_rounds"] = 1
    return RunConfig.model_validate(tree)


def pool_stage(stage: Stage, trial: Trial) -> Stage:
    """The inpaint stage of the pool: copies the run's candidates and paints the others."""
    classes = len(trial.dataset.classes)

    def plan(tables: Tables) -> list[str]:
        predictions = tables.table("erm")
        masks = tables.table("segment")
        usable = set(masks.filter(pc.equal(masks["status"], OK))["id"].to_pylist())
        units = budgets(predictions, classes, None)
        return [
            candidate_id(name, to, variant)
            for variant in range(VARIANTS)
            for (label, to), count in units.items()
            for name in majority(predictions, label, count)
            if name in usable and to in targets(predictions, label, classes)
        ]

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        painted = _painted(trial.workspace)
        paint = stage.open(models, tables, folder, fixed)

        def rows(batch: Batch) -> list[Row]:
            new = [None if name in painted else name for name in batch]
            made = {row["id"]: row for row in paint(new)} if any(new) else {}
            return [made.get(name) or _taken(trial.workspace, painted[name]) for name in batch if name is not None]

        return rows

    return replace(stage, plan=plan, open=open_worker, extent={**stage.extent, "pool": VARIANTS})


def _painted(tables: Tables) -> dict[str, Row]:
    """The run's candidates by id, without their pixels."""
    return {row["id"]: row for row in tables.table("inpaint").to_pylist() if row["status"] == OK}


def _taken(tables: Tables, row: Row) -> Row:
    """The row of a candidate of the run, with its patch."""
    return {**row, "patch": next(iter(tables.payload("inpaint", "patch", [row["id"]])))}


def part(candidates: pa.Table, units: dict[Direction, int], amount: float) -> set[str]:
    """Ids of the pool's first amount x unit candidates of every direction."""
    taken: dict[Direction, int] = defaultdict(int)
    chosen = set()
    columns = candidates.select(["id", "from_label", "to_label", "status"]).to_pylist()
    for row in sorted(columns, key=lambda row: split_candidate_id(row["id"])[2]):
        direction = row["from_label"], row["to_label"]
        if row["status"] == OK and taken[direction] < round(amount * units[direction]):
            taken[direction] += 1
            chosen.add(row["id"])
    return chosen


def pruned_part(stage: Stage, settings: PruneConfig, classes: int, amount: float) -> Stage:
    """The prune stage on a part of the pool: the heads are applied to that part alone; the rest is over budget."""

    def inside(tables: Tables) -> tuple[pa.Table, pa.Table, dict[int, float]]:
        predictions, candidates, scores = (tables.table(name) for name in ("erm", "inpaint", "score"))
        chosen = part(candidates, budgets(predictions, classes, None), amount)
        return _of(scores, chosen), candidates, mean_probabilities(predictions)

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        scores, candidates, means = inside(tables)
        verdicts = {row["id"]: row for row in prune.decide(scores, candidates, means, settings)}
        return lambda batch: [verdicts.get(name) or _left_out(name) for name in batch if name is not None]

    def finish(tables: Tables, folder: Path) -> None:
        rows = prune.summary(*inside(tables), settings)
        (folder / prune.SUMMARY).write_text(json.dumps(rows, indent=1) + "\n")

    return replace(stage, open=open_worker, finish=finish, content={**stage.content, "amount": amount})


def _of(rows: pa.Table, ids: set[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows["id"], pa.array(sorted(ids), pa.string())))


def _left_out(name: str) -> Row:
    return {"id": name, "keep": False, "reason": "over_budget", "status": OK, "error": ""}
