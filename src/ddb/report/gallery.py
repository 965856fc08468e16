"""What the page's scripts show: all counterfactuals with their scores, verdicts and small pictures, and the inputs of
the rules of pruning."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddb.records import OK
from ddb.report import again
from ddb.report.reading import Run
from ddb.report.small_pictures import small_pictures
from ddb.report.sources import SourcePictures

PICTURED = 1000
"""Counterfactuals with pictures, at most: of more, every n-th in the table's order."""
LISTED = 20_000
"""Counterfactuals with scores, at most. Of more, those with pictures alone are listed, and thresholds cannot be
tried."""
SCORES = {"psi": "psi_from", "psiTo": "psi_to", "psiSource": "psi_from_source", "rho": "rho"}


@dataclass(frozen=True)
class Gallery:
    """`facts`: the value that the page holds as JSON (`verdicts.js` says what `run` in it is); names, prompts and paths
    in it are as the data set has them. `where`: id of a counterfactual -> its row in the columns of `facts`."""

    facts: Mapping[str, Any]
    where: Mapping[str, int]

    @property
    def is_live(self) -> bool:
        """Whether the page can try other thresholds."""
        return "settings" in self.facts["run"]


def gallery(run: Run, sources: SourcePictures) -> Gallery | None:
    """The counterfactuals of a run; None where none was painted."""
    columns = ("id", "source_id", "from_label", "to_label", "variant", "prompt", "status")
    rows = [row for row in run.table("inpaint", columns).to_pylist() if row["status"] == OK]
    if not rows:
        return None
    every = math.ceil(len(rows) / PICTURED)
    pictured = [row["id"] for row in rows[::every]]
    whole = len(rows) <= LISTED
    listed = rows if whole else rows[::every]
    small = small_pictures(sources, pictured)
    names = list(dict.fromkeys(row["source_id"] for row in listed))
    paths = run.image_paths(names)
    prompts = list(dict.fromkeys(row["prompt"] or "" for row in listed))
    facts = {
        "total": len(rows),
        "classes": [run.class_name(label) for label in range(1 + max(max(_labels(row)) for row in listed))],
        "prompts": prompts,
        "sources": [paths.get(name, name) for name in names],
        "originals": [_text(small.originals, name) for name in names],
        "pictures": [_text(small.pictures, row["id"]) for row in listed],
        "masks": [_text(small.masks, row["id"]) for row in listed],
        "reasons": [run.verdicts.get(row["id"], "") for row in listed],
        "run": {"rows": _rows(run, listed, names, prompts), **(_inputs(run) if whole else {})},
        "command": again.command(run),
    }
    return Gallery(facts, {row["id"]: number for number, row in enumerate(listed)})


def _labels(row: Mapping[str, Any]) -> tuple[int, int]:
    return row["from_label"], row["to_label"]


def _rows(run: Run, listed: Sequence[Mapping[str, Any]], names: Sequence[str], prompts: Sequence[str]) -> Any:
    """The columns that `verdicts.js` reads, and `exact`: 1 where rho is in closed form."""
    scores = run.table("score", ("id", *SCORES.values(), "exact", "status"))
    usable = {row["id"]: row for row in scores.to_pylist() if row["status"] == OK and _is_finite(row)}
    source, prompt = ({name: n for n, name in enumerate(column)} for column in (names, prompts))
    ids = np.array([row["id"] for row in listed], dtype=np.str_)
    order = np.empty(len(ids), np.int64)
    order[np.argsort(ids, kind="stable")] = np.arange(len(ids))
    own = [usable.get(row["id"], {}) for row in listed]
    return {
        "from": [row["from_label"] for row in listed],
        "to": [row["to_label"] for row in listed],
        "variant": [row["variant"] for row in listed],
        "source": [source[row["source_id"]] for row in listed],
        "prompt": [prompt[row["prompt"] or ""] for row in listed],
        "order": order.tolist(),
        **{key: [_shortest(row.get(name)) for row in own] for key, name in SCORES.items()},
        "exact": [int(bool(row.get("exact", True))) for row in own],
    }


def _is_finite(row: Mapping[str, Any]) -> bool:
    return all(row[name] is not None and math.isfinite(row[name]) for name in SCORES.values())


def _shortest(value: float | None) -> float | None:
    """The float32 number with the fewest digits that tell it from others."""
    return None if value is None else float(str(np.float32(value)))


def _inputs(run: Run) -> dict[str, Any]:
    """What the rules read besides the scores; empty where stage prune has not written it."""
    inputs = run.started("inputs.json", "prune")
    own = run.config.get("prune") or {}
    if not inputs or "score" not in run.finished:
        return {}
    return {**inputs, "rounds": int(own.get("max_rounds", 1))}


def _text(files: Mapping[str, bytes], name: str) -> str:
    return base64.b64encode(files[name]).decode("ascii") if name in files else ""
