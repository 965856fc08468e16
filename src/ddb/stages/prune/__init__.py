"""Stage 6, pruning with two heads: a verdict and its reason for every scored candidate (method section 6, paper).

Head psi rejects candidates that the ERM model still predicts as the original class; head rho rejects those whose
repainted region contributes too little to the new class. Verdicts are a pure function of the scores, so a new threshold
needs no new image. The rules themselves are in `rules.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ddb.config import PruneConfig
from ddb.context import Models
from ddb.errors import StageFailed
from ddb.learn import selection
from ddb.learn.selection import Direction, PerClass
from ddb.records import OK, VERDICTS, candidate_title
from ddb.stage import Fixed, Need, Row, Stage, Tables, Worker, error_row
from ddb.stages.prune.rules import LEAST_CELL as LEAST_CELL
from ddb.stages.prune.rules import SCORED, DirectionVerdicts, apply_heads

log = logging.getLogger("ddb")
Inputs = tuple[pa.Table, pa.Table, Mapping[int, float], PruneConfig, Mapping[Direction, int]]
"""Arguments of `decide` and `summary`."""
SUMMARY, INPUTS = "summary.json", "inputs.json"


def stage(settings: PruneConfig, classes: Sequence[str], per_class: PerClass, content: Mapping[str, object]) -> Stage:
    """`classes` (their names) and `per_class` (config.inpaint) give the budget of kept images in every direction.
    Artefacts: `summary.json`, the rows of `summary` with the names of the classes; `inputs.json`, what the verdicts are
    computed from besides the scores."""

    def inputs(tables: Tables) -> Inputs:
        predictions = tables.table("erm")
        means = selection.mean_probabilities(predictions)
        budgets = selection.budgets(predictions, len(classes), per_class)
        return tables.table("score"), tables.table("inpaint"), means, settings, budgets

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        verdicts = {row["id"]: row for row in decide(*inputs(tables))}
        return lambda batch: [verdicts[name] for name in batch if name is not None]

    def finish(tables: Tables, folder: Path) -> None:
        rows = [{**row, "direction": _direction(row, classes)} for row in summary(*inputs(tables))]
        for row in rows:
            for head in row["fallback"]:
                log.warning(
                    "Pruning %s: the %s head (%s) prunes more than prune.max_pruned (%.0f%%); used %s instead.",
                    *(row["direction"], head, getattr(settings, head)),
                    *(100 * settings.max_pruned, row[f"{head}_rule"]),
                )
        (folder / SUMMARY).write_text(json.dumps(rows, indent=1) + "\n")
        (folder / INPUTS).write_text(
            json.dumps(_facts(inputs(tables), tables.table("erm"), len(classes)), indent=1) + "\n"
        )
        _some_kept(rows)

    return Stage(
        name="prune",
        schema=VERDICTS,
        needs={"erm": Need.TABLE, "inpaint": Need.TABLE, "score": Need.TABLE},
        content={**content, "classes": len(classes), "per_class": per_class},
        plan=lambda tables: _ok(tables.table("score"))["id"].to_pylist(),
        open=open_worker,
        batch_size=4096,
        finish=finish,
        title=lambda name: candidate_title(name, classes),
    )


def _facts(inputs: Inputs, predictions: pa.Table, classes: int) -> dict[str, Any]:
    """What the report's page decides verdicts from: `ddb/report/scripts/verdicts.js`."""
    _, _, means, settings, budgets = inputs
    return {
        "settings": settings.model_dump(mode="json"),
        "means": means,
        "budgets": {f"{source}>{target}": count for (source, target), count in budgets.items()},
        "targets": {label: selection.targets(predictions, label, classes) for label in range(classes)},
        "cell": LEAST_CELL,
    }


def _direction(row: Mapping[str, Any], classes: Sequence[str]) -> str:
    """ "landbird → waterbird"."""
    return f"{classes[row['from_label']]} → {classes[row['to_label']]}"


def _some_kept(rows: Sequence[Mapping[str, Any]]) -> None:
    """StageFailed where every candidate was rejected: there is nothing to retrain with."""
    total = {name: sum(row[name] for row in rows) for name in ("generated", "pruned_psi", "pruned_rho", "kept")}
    if total["generated"] and not total["kept"]:
        raise StageFailed(
            f"stage prune: all {total['generated']} candidates are rejected ({total['pruned_psi']} by psi, "
            f"{total['pruned_rho']} by rho; {', '.join(row['direction'] for row in rows)}). Look at them in "
            "report.html (`ddb report`); then change prune.psi, prune.rho or prune.max_pruned, or how they are painted "
            "(data.phrase, segment, inpaint)."
        )


def decide(
    scores: pa.Table,
    candidates: pa.Table,
    mean_probability: Mapping[int, float],
    settings: PruneConfig,
    budgets: Mapping[Direction, int] | None = None,
) -> list[Row]:
    """A verdict row for every row of `scores` with status ok, in its order. A row whose scores are not finite is an
    error row.

    mean_probability: Psi of every class. budgets: most images to keep in each direction (missing: no limit).
    """
    scores = _ok(scores)
    finite = _finite(scores)
    chosen = scores.filter(finite)
    rows = iter(_rows(chosen, apply_heads(chosen, candidates, mean_probability, settings, budgets or {})))
    return [
        next(rows) if usable else error_row(name, StageFailed("its scores are not finite: score it again"))
        for name, usable in zip(scores["id"].to_pylist(), finite.to_pylist(), strict=True)
    ]


def summary(
    scores: pa.Table,
    candidates: pa.Table,
    mean_probability: Mapping[int, float],
    settings: PruneConfig,
    budgets: Mapping[Direction, int] | None = None,
) -> list[dict[str, Any]]:
    """Per direction: from_label, to_label, generated, pruned_psi, pruned_rho (both heads may prune the same image),
    over_budget, kept, and the rule that each head used (it differs from the setting after a fallback)."""
    scores = _ok(scores)
    verdicts = apply_heads(scores.filter(_finite(scores)), candidates, mean_probability, settings, budgets or {})
    return [_summary(direction, settings) for direction in verdicts]


def _summary(verdicts: DirectionVerdicts, settings: PruneConfig) -> dict[str, Any]:
    from_label, to_label = verdicts.direction
    return {
        "from_label": from_label,
        "to_label": to_label,
        "generated": len(verdicts.rows),
        "pruned_psi": int(verdicts.psi.sum()),
        "pruned_rho": int(verdicts.rho.sum()),
        "over_budget": int(verdicts.over_budget.sum()),
        "kept": int((~(verdicts.psi | verdicts.rho | verdicts.over_budget)).sum()),
        "psi_rule": _named(verdicts.psi_rules, settings.psi),
        "rho_rule": _named(verdicts.rho_rules, settings.rho),
        "fallback": [
            head
            for head, rules in (("psi", verdicts.psi_rules), ("rho", verdicts.rho_rules))
            if set(rules.values()) != {getattr(settings, head)}
        ],
    }


def _named(rules: Mapping[str, str], setting: str) -> str:
    """The rules that a head used, by prompt, in words: "literal", or "literal, quantile (1 of 8 prompts)"."""
    words = []
    for rule in sorted(set(rules.values()), key=lambda name: (name != setting, name)):
        count = list(rules.values()).count(rule)
        some = len(rules) > 1 and rule != setting
        words.append(f"{rule} ({count} of {len(rules)} prompts)" if some else rule)
    return ", ".join(words)


def _rows(scores: pa.Table, verdicts: Sequence[DirectionVerdicts]) -> list[Row]:
    ids = scores["id"].to_pylist()
    reasons = [""] * len(ids)
    for direction in verdicts:
        for row, psi, rho, over in zip(
            direction.rows.tolist(), direction.psi, direction.rho, direction.over_budget, strict=True
        ):
            heads = "+".join(name for name, pruned in (("psi", psi), ("rho", rho)) if pruned)
            reasons[row] = heads or ("over_budget" if over else "kept")
    return [
        {"id": item, "keep": reason == "kept", "reason": reason, "status": OK, "error": ""}
        for item, reason in zip(ids, reasons, strict=True)
    ]


def _finite(scores: pa.Table) -> pa.ChunkedArray:
    """Bool for every row: whether all columns of `SCORED` are finite."""
    flags = [pc.fill_null(pc.is_finite(scores[name]), False) for name in SCORED]
    return reduce(pc.and_, flags)


def _ok(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["status"], OK))
