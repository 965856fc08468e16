"""What retraining without pruning has given, where that was measured: in this run folder under other settings, or by
the pruning study of the bench that the run belongs to.

A measurement counts if it differs from this run in the rules of pruning alone: the same classifier, the same candidates
(by the digests of their results), the same settings of retraining.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddb.engine import files
from ddb.engine.identity import fingerprint_of
from ddb.report.reading import Run

RULES = ("prune.psi", "prune.rho")
ARM = "pruning-none"
"""Name of the arm of the bench's pruning study in which both heads are off."""
Plan = Mapping[str, Any]


@dataclass(frozen=True)
class Unpruned:
    """`figures`: as `after` in metrics.json; `kept`: counterfactuals added to the training data; `where`: a file or
    folder in which the figures are stored."""

    figures: Mapping[str, Any]
    kept: int
    where: str


def unpruned(run: Run) -> Unpruned | None:
    """The measurement without pruning; None where there is none, or this run itself does not prune."""
    if "prune" not in run.finished or _is_off(_plan(run.tables.folder("prune"))):
        return None
    return next(_in_the_run(run), None) or next(_in_the_bench(run), None)


def _in_the_run(run: Run) -> Iterator[Unpruned]:
    """Evaluations of this folder under other settings."""
    if "evaluate" not in run.finished or "retrain" not in run.finished:
        return
    own = {stage: _plan(run.tables.folder(stage)) for stage in ("prune", "retrain", "evaluate")}
    home = run.tables.folder("evaluate").parent
    for folder in sorted(home.iterdir()):
        plan, metrics = _plan(folder), files.read_json(folder / "metrics.json")
        if metrics is None or not (folder / "done.json").exists() or plan["content"] != own["evaluate"]["content"]:
            continue
        results = {stage: _result(run.folder, stage, plan) for stage in ("prune", "retrain")}
        plans = {stage: _plan(path) for stage, path in results.items()}
        same = all(
            plan["needs"].get(stage) == own["evaluate"]["needs"].get(stage) for stage in ("erm", "segment", "inpaint")
        )
        if same and _is_off(plans["prune"]) and _differs_in_pruning(plans, own):
            yield Unpruned(metrics["after"], int(metrics["counts"]["kept"]), str(folder.relative_to(run.folder)))


def _in_the_bench(run: Run) -> Iterator[Unpruned]:
    """Records of the pruning study beside a run folder SEED/run, whose arm lies in SEED/variants."""
    seed, variant = run.folder.resolve().parent, run.folder.resolve().parent / "variants" / ARM
    current = (files.read_json(variant / "current.json") or {}).get("results", {})
    if not {"prune", "retrain"} <= current.keys():
        return
    folders = {
        stage: variant / _home(run, stage) / current[stage]["fingerprint"][:16] for stage in ("prune", "retrain")
    }
    plans = {stage: _plan(folder) for stage, folder in folders.items()}
    own = {stage: _plan(run.tables.folder(stage)) for stage in folders if run.tables.current(stage) is not None}
    if not _is_off(plans["prune"]) or not _differs_in_pruning(plans, own):
        return
    counted = _counts(files.read_any_json(folders["prune"] / "summary.json") or [])
    for path in sorted((seed / "scores").glob(f"{ARM}-*.json")):
        record = files.read_json(path, ("arm", "directions", "test")) or {}
        if record and _counts(record["directions"]) == counted:
            kept = sum(row["kept"] for row in record["directions"])
            yield Unpruned(record["test"], kept, str(path))


def _differs_in_pruning(plans: Mapping[str, Plan], own: Mapping[str, Plan]) -> bool:
    """Whether prune and retrain were computed from the same candidates and with the same settings, apart from the rules
    of pruning. What this run has not begun (retrain) is not compared."""
    prune, retrain = plans["prune"], plans["retrain"]
    same = prune["needs"] == own["prune"]["needs"] and _others(prune) == _others(own["prune"])
    if own.get("retrain", {}).get("content"):
        same = same and retrain["content"] == own["retrain"]["content"]
        same = same and all(retrain["needs"].get(n) == own["retrain"]["needs"].get(n) for n in ("erm", "inpaint"))
    return bool(retrain["content"]) and same


def _others(plan: Plan) -> dict[str, Any]:
    """What a prune result was made from, but for its rules."""
    return {key: value for key, value in plan["content"].items() if not key.startswith("prune.")}


def _is_off(plan: Plan) -> bool:
    return all(plan["content"].get(rule) == "off" for rule in RULES)


def _plan(folder: Path) -> Plan:
    return {"content": {}, "needs": {}, **(files.read_json(folder / "plan.json") or {})}


def _result(root: Path, stage: str, plan: Plan) -> Path:
    """The folder of the result of `stage` that a result with this plan was made from."""
    fingerprint = fingerprint_of(plan["needs"].get(stage, ""))
    return next(root.glob(f"[0-9]*-{stage}")) / (fingerprint[:16] or "none")


def _home(run: Run, stage: str) -> str:
    return run.tables.folder(stage).parent.name if run.tables.current(stage) else ""


def _counts(directions: list[Mapping[str, Any]]) -> str:
    names = ("from_label", "to_label", "generated", "pruned_psi", "pruned_rho", "over_budget", "kept")
    return json.dumps([[row.get(name) for name in names] for row in directions])
