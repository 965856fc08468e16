"""The verdicts of the report's page are those of `prune.decide`: its JavaScript beside it, on many thresholds."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddb.config import PruneConfig
from ddb.learn.selection import Direction
from ddb.records import CANDIDATES, SCORES, candidate_id
from ddb.refill import rejected_sources
from ddb.stages import prune
from javascript import answers

VERDICTS = Path(str(resources.files("ddb.report") / "scripts" / "verdicts.js"))
MEANS = {0: 0.75, 1: 0.5, 2: 0.9}
SCORE_COLUMNS = ("psi_from", "psi_to", "psi_from_source", "rho")
Case = dict[str, Any]


def rows_of(rng: random.Random, count: int, variants: int) -> list[dict[str, Any]]:
    """Candidates of three classes and three prompts in random order; many have equal scores, some have none."""
    rows, seen = [], set()
    levels = [rng.random() for _ in range(4)] + [0.0, 1.0, 0.5, 0.75]
    while len(rows) < count:
        source, label = f"train/ä{rng.randrange(count)}>1.png", rng.randrange(3)
        source = f"{source[:-4]}-{label}.png"
        target = rng.choice([other for other in range(3) if other != label])
        name = candidate_id(source, target, rng.randrange(variants))
        if name in seen:
            continue
        seen.add(name)
        tied = rng.random() < 0.5
        psi = rng.choice(levels) if tied else rng.random()
        rho = rng.choice((-1.0, 0.0, 0.5, 2.0)) if tied else rng.gauss(1, 2) * 10 ** rng.randrange(-3, 3)
        scores = [psi, rng.choice(levels), rng.choice([psi, rng.random()]), rho]
        rows.append(
            {
                "id": name, "source_id": source, "from_label": label, "to_label": target,
                "variant": int(name.rpartition("#")[2]), "prompt": rng.choice(["a", "a", "b", "<c>"]), "status": "ok",
                "scored": "ok" if rng.random() < 0.95 else "error",
                **{key: float(np.float32(value)) for key, value in zip(SCORE_COLUMNS, scores, strict=True)},
            }
        )  # fmt: skip
    return rows


def settings_of(rng: random.Random, rows: list[dict[str, Any]]) -> PruneConfig:
    """Random rules; thresholds are often equal to a score."""
    rho = rng.choice(["value", "quantile", "mean", "off"])
    value = rng.choice([rng.choice(rows)["rho"], rng.gauss(0, 3)])
    return PruneConfig(
        psi=rng.choice(["literal", "relative", "value", "value", "off"]),
        psi_threshold=rng.choice([rng.choice(rows)["psi_from"], rng.random(), 0.0, 1.0]),
        psi_ratio=rng.choice([1.0, 0.9, rng.random()]),
        rho=rho,
        rho_threshold=rng.random() if rho == "quantile" else value,
        max_pruned=rng.choice([0.9, 1.0, 0.0, rng.random()]),
        fallback=rng.choice(["relative", "quantile", "none"]),
        fallback_quantile=rng.choice([0.5, rng.random()]),
        max_rounds=rng.choice([1, 2, 3]),
    )


def tables(rows: list[dict[str, Any]]) -> tuple[pa.Table, pa.Table]:
    scores = [
        {"id": row["id"], **{key: row[key] for key in SCORE_COLUMNS}, "status": row["scored"], "error": ""}
        for row in rows
    ]
    own = [{key: row[key] for key in row if key in CANDIDATES.names} | {"error": ""} for row in rows]
    return pa.Table.from_pylist(scores, schema=SCORES), pa.Table.from_pylist(own, schema=CANDIDATES)


def expected(case: Case) -> tuple[list[str], list[bool], int]:
    """Reasons, which rows are asked for, and how many are not painted, by ddb's own functions."""
    rows, config, budgets, targets = case["rows"], case["config"], case["budgets"], case["targets"]
    by_id = {row["id"]: row for row in rows}
    planned, unpainted = [row for row in rows if row["variant"] == 0], 0
    for variant in range(1, config.max_rounds):
        if unpainted:
            break
        verdicts = prune.decide(*tables(planned), MEANS, config, budgets)
        for source in rejected_sources(verdicts, by_id, budgets):
            for target in targets[int(source[-5])]:
                row = by_id.get(candidate_id(source, target, variant))
                unpainted += row is None
                planned += [row] if row is not None and row not in planned else []
    found = {row["id"]: row["reason"] for row in prune.decide(*tables(planned), MEANS, config, budgets)}
    asked = {row["id"] for row in planned}
    return [found.get(row["id"], "") for row in rows], [row["id"] in asked for row in rows], unpainted


def page_of(case: Case) -> dict[str, Any]:
    """The case as the page holds it."""
    rows = case["rows"]
    order = {name: rank for rank, name in enumerate(sorted(row["id"] for row in rows))}

    def scores(key: str) -> list[float | None]:
        return [float(str(np.float32(row[key]))) if row["scored"] == "ok" else None for row in rows]

    return {
        "cell": prune.LEAST_CELL,
        "rounds": case["config"].max_rounds,
        "means": MEANS,
        "budgets": {f"{a}>{b}": n for (a, b), n in case["budgets"].items()},
        "targets": case["targets"],
        "rows": {
            "from": [row["from_label"] for row in rows],
            "to": [row["to_label"] for row in rows],
            "prompt": [row["prompt"] for row in rows],
            "variant": [row["variant"] for row in rows],
            "source": [row["source_id"] for row in rows],
            "order": [order[row["id"]] for row in rows],
            **dict(zip(("psi", "psiTo", "psiSource", "rho"), map(scores, SCORE_COLUMNS), strict=True)),
        },
    }


def cases(count: int) -> Iterator[Case]:
    for seed in range(count):
        rng = random.Random(seed)
        rows = rows_of(rng, rng.choice([1, 5, 12, 40, 90]), rng.choice([1, 3]))
        pairs = sorted({(row["from_label"], row["to_label"]) for row in rows})
        budgets: dict[Direction, int] = {pair: rng.randrange(12) for pair in pairs if rng.random() < 0.8}
        targets = {label: [to for to in range(3) if to != label][: rng.choice([1, 2])] for label in range(3)}
        yield {"rows": rows, "config": settings_of(rng, rows), "budgets": budgets, "targets": targets}


def test_verdicts_of_the_page_are_those_of_the_stage() -> None:
    tried = list(cases(400))
    given = [{"run": page_of(case), "settings": case["config"].model_dump()} for case in tried]
    found = answers([VERDICTS], given, "given.map(({run, settings}) => Verdicts.decide(run, settings))")
    seen = set()
    for seed, (case, one) in enumerate(zip(tried, found, strict=True)):
        reasons, planned, unpainted = expected(case)
        assert one["reasons"] == reasons, f"case {seed}: {case['config']}"
        assert one["planned"] == planned, f"case {seed}"
        assert one["unpainted"] == unpainted, f"case {seed}"
        seen |= {*reasons, *(rule for *_, psi, rho in one["rules"] for rule in (psi, "rho " + rho))}
    assert seen >= {"kept", "psi", "rho", "psi+rho", "over_budget", "", "literal", "relative", "value", "quantile"}
    assert seen >= {"off", "rho off", "rho value", "rho mean", "rho quantile", "rho fallback_quantile"}
    assert any(not all(one["planned"]) for one in found), "some later rounds are not asked for"


def test_rules_of_the_page_are_those_of_the_summary() -> None:
    """The rule of each head, by direction, where there is one prompt."""
    tried = [case for case in cases(60) if case["config"].max_rounds == 1]
    for case in tried:
        for row in case["rows"]:
            row["prompt"] = ""
    given = [{"run": page_of(case), "settings": case["config"].model_dump()} for case in tried]
    found = answers([VERDICTS], given, "given.map(({run, settings}) => Verdicts.decide(run, settings).rules)")
    for case, rules in zip(tried, found, strict=True):
        own = [row for row in case["rows"] if row["variant"] == 0]
        summary = prune.summary(*tables(own), MEANS, case["config"], case["budgets"])
        expected = {(row["from_label"], row["to_label"]): (row["psi_rule"], row["rho_rule"]) for row in summary}
        assert {(a, b): (psi, rho) for a, b, _, psi, rho in rules} == expected


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
def test_sums_are_rounded_once(scale: float) -> None:
    rng = random.Random(0)
    rows = [[rng.gauss(0, 1) * scale ** rng.random() for _ in range(200)] for _ in range(40)]
    rows += [[], [0.1] * 10, [1e16, 1.0, -1e16], [2.0**53, 1.0, 2.0**-60]]
    assert answers([VERDICTS], rows, "given.map(Verdicts.sum)") == [math.fsum(row) for row in rows]
