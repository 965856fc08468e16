"""Stage 6, pruning with two heads: a verdict and its reason for every scored candidate (method section 6, paper).

Head psi rejects candidates that the ERM model still predicts as the original class; head rho rejects those whose
repainted region contributes too little to the new class. Verdicts are a pure function of the scores, so a new threshold
needs no new image. A rule and its fallback are applied to the candidates of one direction and one prompt together.
Where `inpaint.variety` makes several prompts, therefore, no head rejects all candidates of one prompt (for instance of
a colour with low psi).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.config import PruneConfig
from ddb.context import Models
from ddb.errors import StageFailed
from ddb.learn import selection
from ddb.learn.selection import Direction, PerClass
from ddb.records import OK, VERDICTS
from ddb.stage import Fixed, Need, Row, Stage, Tables, Worker, error_row

log = logging.getLogger("ddb")
Flags = npt.NDArray[np.bool_]
Inputs = tuple[pa.Table, pa.Table, Mapping[int, float], PruneConfig, Mapping[Direction, int]]
"""Arguments of `decide` and `summary`."""
Positions = npt.NDArray[np.int64]
SUMMARY = "summary.json"
SCORED = ("psi_from", "psi_to", "psi_from_source", "rho")
"""Columns of the score table that the rules read."""
LEAST_CELL = 10
"""Number of candidates of one direction and prompt below which a rule uses those of the whole direction."""


@dataclass(frozen=True)
class DirectionVerdicts:
    """The verdicts of one direction: `rows`: positions in the score table; for each of them whether a head rejects it;
    the rule that each head used, by prompt."""

    direction: Direction
    rows: npt.NDArray[np.int64]
    psi: Flags
    rho: Flags
    over_budget: Flags
    psi_rules: Mapping[str, str]
    rho_rules: Mapping[str, str]


def stage(settings: PruneConfig, classes: int, per_class: PerClass, content: Mapping[str, object]) -> Stage:
    """`classes` and `per_class` (config.inpaint) give the budget of kept images in every direction."""

    def inputs(tables: Tables) -> Inputs:
        predictions = tables.table("erm")
        means = selection.mean_probabilities(predictions)
        budgets = selection.budgets(predictions, classes, per_class)
        return tables.table("score"), tables.table("inpaint"), means, settings, budgets

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        verdicts = {row["id"]: row for row in decide(*inputs(tables))}
        return lambda batch: [verdicts[name] for name in batch if name is not None]

    def finish(tables: Tables, folder: Path) -> None:
        rows = summary(*inputs(tables))
        for row in rows:
            for head in row["fallback"]:
                log.warning(
                    "Pruning %d -> %d: the %s head (%s) prunes more than prune.max_pruned (%.0f%%); used %s instead.",
                    *(row["from_label"], row["to_label"], head, getattr(settings, head)),
                    *(100 * settings.max_pruned, row[f"{head}_rule"]),
                )
        (folder / SUMMARY).write_text(json.dumps(rows, indent=1) + "\n")
        _some_kept(rows)

    return Stage(
        name="prune",
        schema=VERDICTS,
        needs={"erm": Need.TABLE, "inpaint": Need.TABLE, "score": Need.TABLE},
        content={**content, "classes": classes, "per_class": per_class},
        plan=lambda tables: _ok(tables.table("score"))["id"].to_pylist(),
        open=open_worker,
        batch_size=4096,
        finish=finish,
    )


def _some_kept(rows: Sequence[Mapping[str, Any]]) -> None:
    """StageFailed where every candidate was rejected: there is nothing to retrain with."""
    total = {name: sum(row[name] for row in rows) for name in ("generated", "pruned_psi", "pruned_rho", "kept")}
    if total["generated"] and not total["kept"]:
        raise StageFailed(
            f"stage prune: all {total['generated']} candidates are rejected ({total['pruned_psi']} by psi, "
            f"{total['pruned_rho']} by rho). Look at them in report.html (`ddb report`); then change prune.psi, "
            "prune.rho or prune.max_pruned, or how they are painted (data.phrase, segment, inpaint)."
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
    rows = iter(_rows(chosen, _apply_heads(chosen, candidates, mean_probability, settings, budgets or {})))
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
    verdicts = _apply_heads(scores.filter(_finite(scores)), candidates, mean_probability, settings, budgets or {})
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


def _apply_heads(
    scores: pa.Table,
    candidates: pa.Table,
    mean_probability: Mapping[int, float],
    settings: PruneConfig,
    budgets: Mapping[Direction, int],
) -> list[DirectionVerdicts]:
    table = _joined(scores, candidates)
    directions = sorted(set(zip(table["from_label"].tolist(), table["to_label"].tolist(), strict=True)))
    verdicts = []
    for direction in directions:
        rows = np.flatnonzero((table["from_label"] == direction[0]) & (table["to_label"] == direction[1]))
        part = {name: column[rows] for name, column in table.items()}
        psi, rho = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        psi_rules, rho_rules = {}, {}
        mean = mean_probability[direction[0]]
        for prompt, own, judged_with in _cells(part):
            cell = {name: column[judged_with] for name, column in part.items()}
            inside = np.isin(judged_with, own)
            flags, psi_rules[prompt] = _psi_head(cell, mean, settings)
            psi[own] = flags[inside]
            flags, rho_rules[prompt] = _rho_head(cell, settings)
            rho[own] = flags[inside]
        over = _over_budget(part, ~(psi | rho), budgets.get(direction))
        verdicts.append(DirectionVerdicts(direction, rows, psi, rho, over, psi_rules, rho_rules))
    return verdicts


def _cells(part: Mapping[str, npt.NDArray[Any]]) -> list[tuple[str, Positions, Positions]]:
    """For each prompt of a direction (prompt, its rows, the rows that a rule is computed from): its own rows; where
    these are fewer than `LEAST_CELL`, too few for a quantile or a share, all rows of the direction."""
    everything, cells = np.arange(len(part["prompt"])), []
    for prompt in dict.fromkeys(part["prompt"].tolist()):
        own = np.flatnonzero(part["prompt"] == prompt)
        cells.append((prompt, own, own if len(own) >= LEAST_CELL else everything))
    return cells


def _psi_head(part: Mapping[str, npt.NDArray[Any]], mean: float, settings: PruneConfig) -> tuple[Flags, str]:
    psi = part["psi_from"]
    relative = psi >= settings.psi_ratio * part["psi_from_source"]
    # Highest psi_from first; candidates whose psi_from rounds to 1 are ordered by psi_to.
    ranks = _ranks(-psi, part["psi_to"], part["id"])
    quantile = ranks < int(settings.fallback_quantile * len(psi))
    rules = {"off": np.zeros(len(psi), bool), "literal": psi >= mean, "relative": relative, "quantile": quantile}
    chain = {"relative": ("relative", "quantile"), "quantile": ("quantile",), "none": ()}[settings.fallback]
    return _first_mild((settings.psi, *chain), rules, settings)


def _rho_head(part: Mapping[str, npt.NDArray[Any]], settings: PruneConfig) -> tuple[Flags, str]:
    rho, threshold = part["rho"], settings.rho_threshold
    ranks = _ranks(rho, part["id"])
    rules = {
        "off": np.zeros(len(rho), bool),
        "value": rho <= threshold,
        "mean": rho <= rho.mean(),
        "quantile": ranks < int(threshold * len(rho)),
        "fallback_quantile": ranks < int(settings.fallback_quantile * len(rho)),
    }
    chain = () if settings.fallback == "none" else ("fallback_quantile",)
    return _first_mild((settings.rho, *chain), rules, settings)


def _first_mild(names: Sequence[str], rules: Mapping[str, Flags], settings: PruneConfig) -> tuple[Flags, str]:
    """The first rule that rejects at most the share `settings.max_pruned`; the last rule if none does."""
    for name in names[:-1]:
        if rules[name].mean() <= settings.max_pruned:
            return rules[name], name
    return rules[names[-1]], names[-1]


def _over_budget(part: Mapping[str, npt.NDArray[Any]], passed: Flags, budget: int | None) -> Flags:
    """Flags of the passed candidates beyond the budget, which keeps low variants first, then high rho."""
    over = np.zeros(len(passed), bool)
    if budget is not None:
        order = np.lexsort((part["id"], -part["rho"], part["variant"]))
        over[order[passed[order]][budget:]] = True
    return over


def _ranks(*keys: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Rank of every item, 0 first, by the first key, then the second, and so on."""
    ranks = np.empty(len(keys[0]), np.int64)
    ranks[np.lexsort(keys[::-1])] = np.arange(len(keys[0]))
    return ranks


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


def _joined(scores: pa.Table, candidates: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """Score columns (float64) with each candidate's labels and variant, in the order of `scores`."""
    where = {item: row for row, item in enumerate(candidates["id"].to_pylist())}
    rows = pa.array([where[item] for item in scores["id"].to_pylist()], pa.int64())
    own = candidates.select(["from_label", "to_label", "variant", "prompt"]).take(rows)
    table = {name: own[name].to_numpy() for name in own.column_names}
    for name in SCORED:
        table[name] = scores[name].to_numpy().astype(np.float64)
    table["id"] = np.array(scores["id"].to_pylist(), dtype=np.str_)
    return table


def _ok(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.equal(rows["status"], OK))
