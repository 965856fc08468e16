"""The two heads of pruning: which candidates of a direction each rejects, and which are over the budget.

A rule and its fallback are applied to the candidates of one direction and one prompt together. Where `inpaint.variety`
makes several prompts, therefore, no head rejects all candidates of one prompt (for instance of a colour with low psi).
The report's page applies the same rules to the same scores (`ddb/report/scripts/verdicts.js`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ddb.config import PruneConfig
from ddb.learn.selection import Direction

Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
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


def apply_heads(
    scores: pa.Table,
    candidates: pa.Table,
    mean_probability: Mapping[int, float],
    settings: PruneConfig,
    budgets: Mapping[Direction, int],
) -> list[DirectionVerdicts]:
    """The verdicts of every direction, in the order of labels. `scores`: rows with status ok and finite scores; the
    others as for `prune.decide`."""
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
    rules = {"off": np.zeros(len(psi), bool), "literal": psi >= mean}
    rules |= {"value": psi >= settings.psi_threshold, "relative": relative, "quantile": quantile}
    chain = {"relative": ("relative", "quantile"), "quantile": ("quantile",), "none": ()}[settings.fallback]
    return _first_mild((settings.psi, *chain), rules, settings)


def _rho_head(part: Mapping[str, npt.NDArray[Any]], settings: PruneConfig) -> tuple[Flags, str]:
    rho, threshold = part["rho"], settings.rho_threshold
    ranks = _ranks(rho, part["id"])
    rules = {
        "off": np.zeros(len(rho), bool),
        "value": rho <= threshold,
        "mean": rho <= math.fsum(rho) / len(rho),  # exact, so that the order of rows changes nothing
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
