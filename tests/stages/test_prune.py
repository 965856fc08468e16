"""Verdicts: the paper's two rules by truth table, and the fallbacks that keep a head from rejecting a whole
direction."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddb.config import PruneConfig
from ddb.errors import StageFailed
from ddb.records import CANDIDATES, PREDICTIONS, SCORES, VERDICTS, candidate_id
from ddb.stages import prune

MEANS = {0: 0.8, 1: 0.6}
CLASSES = ("landbird", "waterbird")


def tables(rows: list[tuple[int, float, float, float]], variants: list[int] | None = None) -> tuple[pa.Table, pa.Table]:
    """Scores and candidates from (from_label, psi_from, psi_from_source, rho); two classes."""
    scores, candidates = [], []
    for n, (label, psi, source, rho) in enumerate(rows):
        variant = variants[n] if variants else 0
        name = candidate_id(f"s{n:03d}", 1 - label, variant)
        scores.append(
            {
                "id": name, "psi_from": psi, "psi_to": 1 - psi, "psi_from_source": source, "rho": rho, "exact": True,
                "area": 0.1, "attribution": None, "status": "ok", "error": "",
            }
        )  # fmt: skip
        candidates.append(
            {
                "id": name, "source_id": f"s{n:03d}", "from_label": label, "to_label": 1 - label, "variant": variant,
                "seed": 0, "prompt": "", "model": "", "status": "ok", "error": "",
            }
        )  # fmt: skip
    return pa.Table.from_pylist(scores, schema=SCORES), pa.Table.from_pylist(candidates, schema=CANDIDATES)


def reasons(rows, config, budgets=None, variants=None):
    verdicts = prune.decide(*tables(rows, variants), MEANS, config, budgets)
    assert all(row["keep"] == (row["reason"] == "kept") for row in verdicts)
    return [row["reason"] for row in verdicts]


def test_the_papers_rules_by_truth_table():
    rows = [
        (0, 0.79, 1, 1.0),  # psi below Psi_0 = 0.8, rho above 0
        (0, 0.81, 1, 1.0),
        (0, 0.79, 1, 0.0),  # rho at the threshold is pruned
        (0, 0.81, 1, -1.0),
        (1, 0.59, 1, 0.1),  # class 1 has its own mean, 0.6
        (1, 0.61, 1, 0.1),
    ]
    assert reasons(rows, PruneConfig()) == ["kept", "psi", "rho", "psi+rho", "kept", "psi"]


def test_psi_equal_to_the_mean_is_pruned():
    rows = [(0, 0.5, 1, 1.0), (0, 0.75, 1, 1.0)]
    verdicts = prune.decide(*tables(rows), {0: 0.75}, PruneConfig())
    assert [row["reason"] for row in verdicts] == ["kept", "psi"]


def test_each_head_can_be_off():
    rows = [(0, 0.99, 1, -1.0), (0, 0.1, 1, 1.0)]
    assert reasons(rows, PruneConfig(psi="off")) == ["rho", "kept"]
    assert reasons(rows, PruneConfig(rho="off")) == ["psi", "kept"]
    assert reasons(rows, PruneConfig(psi="off", rho="off")) == ["kept", "kept"]


def test_relative_psi_compares_with_the_source():
    rows = [(0, 0.85, 0.9, 1.0), (0, 0.80, 0.9, 1.0)]
    assert reasons(rows, PruneConfig(psi="relative", psi_ratio=0.9)) == ["psi", "kept"]


def test_psi_may_have_a_plain_threshold_for_all_classes():
    rows = [(0, 0.25, 1, 1.0), (0, 0.24, 1, 1.0), (1, 0.26, 1, 1.0), (1, 0.1, 1, 1.0)]
    assert reasons(rows, PruneConfig(psi="value", psi_threshold=0.25)) == ["psi", "kept", "psi", "kept"]
    assert reasons(rows, PruneConfig(psi="value", psi_threshold=1.0)) == ["kept"] * 4
    everything = PruneConfig(psi="value", psi_threshold=0.0)
    assert reasons(rows, everything) == ["psi", "kept", "psi", "kept"], "half of each direction, by the fallback"


def test_rho_quantile_and_mean_are_taken_in_each_direction():
    rows = [(0, 0.1, 1, rho) for rho in (1.0, 2.0, 3.0, 10.0)] + [(1, 0.1, 1, rho) for rho in (-4.0, -1.0)]
    quantile = PruneConfig(rho="quantile", rho_threshold=0.5)
    assert reasons(rows, quantile) == ["rho", "rho", "kept", "kept", "rho", "kept"]
    assert reasons(rows, PruneConfig(rho="quantile", rho_threshold=0.0)) == ["kept"] * 6
    assert reasons(rows, PruneConfig(rho="mean")) == ["rho", "rho", "rho", "kept", "rho", "kept"]


def test_a_head_does_not_empty_a_direction():
    """ERM leans wholly on the background: psi stays near 1 for every counterfactual of class 0."""
    rows = [(0, psi, 1.0, 1.0) for psi in (0.99, 0.97, 0.95, 0.93)] + [(1, 0.1, 1.0, 1.0)]
    assert reasons(rows, PruneConfig(fallback="none")) == ["psi"] * 4 + ["kept"]
    assert reasons(rows, PruneConfig()) == ["psi", "psi", "kept", "kept", "kept"]  # quantile: half, the surest first
    assert reasons(rows, PruneConfig(fallback="relative", psi_ratio=0.96)) == ["psi", "psi", "kept", "kept", "kept"]
    assert reasons(rows, PruneConfig(fallback="relative", psi_ratio=0.5)) == ["psi", "psi", "kept", "kept", "kept"]


def test_probabilities_rounded_to_one_are_told_apart_by_the_target():
    scores, candidates = tables([(0, 1.0, 1.0, 1.0)] * 4)
    psi_to = pa.array([1e-9, 4e-9, 2e-9, 3e-9], pa.float32())
    scores = scores.set_column(scores.schema.get_field_index("psi_to"), SCORES.field("psi_to"), psi_to)
    verdicts = prune.decide(scores, candidates, MEANS, PruneConfig())
    assert [row["reason"] for row in verdicts] == ["psi", "kept", "psi", "kept"]


def test_rho_falls_back_as_well():
    rows = [(0, 0.1, 1.0, -float(n)) for n in range(4)]
    assert reasons(rows, PruneConfig()) == ["kept", "kept", "rho", "rho"]


def test_over_budget_keeps_first_variants_then_the_highest_rho():
    rows = [(0, 0.1, 1, 5.0), (0, 0.1, 1, 1.0), (0, 0.1, 1, 3.0), (0, 0.9, 1, 9.0)]
    found = reasons(rows, PruneConfig(), {(0, 1): 2}, variants=[1, 0, 0, 0])
    assert found == ["over_budget", "kept", "kept", "psi"]


def test_summary_counts_and_names_the_rules():
    rows = [(0, 0.99, 1.0, 1.0)] * 10 + [(1, 0.1, 1.0, -1.0), (1, 0.7, 1.0, -1.0), (1, 0.1, 1.0, 1.0)]
    first, second = prune.summary(*tables(rows), MEANS, PruneConfig())
    assert first == {
        "from_label": 0, "to_label": 1, "generated": 10, "pruned_psi": 5, "pruned_rho": 0, "over_budget": 0,
        "kept": 5, "psi_rule": "quantile", "rho_rule": "value", "fallback": ["psi"],
    }  # fmt: skip
    assert (second["pruned_psi"], second["pruned_rho"], second["kept"], second["fallback"]) == (1, 2, 1, [])


def with_prompts(candidates: pa.Table, prompts: list[str]) -> pa.Table:
    column = candidates.schema.get_field_index("prompt")
    return candidates.set_column(column, CANDIDATES.field("prompt"), pa.array(prompts))


def test_a_head_does_not_empty_one_prompt_of_a_direction():
    """20 candidates of an easy prompt, 10 of one that the ERM model finds hard: a third of all is too sure."""
    sure = [0.91, 0.94, 0.93, 0.92, 0.95, 0.96, 0.97, 0.98, 0.99, 0.90]
    rows = [(0, 0.1, 1.0, 1.0)] * 20 + [(0, psi, 1.0, 1.0) for psi in sure]
    scores, candidates = tables(rows)
    candidates = with_prompts(candidates, ["a white bird"] * 20 + ["a black bird"] * 10)
    config = PruneConfig(max_pruned=0.5, fallback_quantile=0.2)
    assert reasons(rows, config)[20:] == ["psi"] * 10  # one prompt for all: a third is not above max_pruned
    found = [row["reason"] for row in prune.decide(scores, candidates, MEANS, config)]
    assert found == ["kept"] * 20 + ["psi" if psi in (0.98, 0.99) else "kept" for psi in sure]
    (summary,) = prune.summary(scores, candidates, MEANS, config)
    assert (summary["psi_rule"], summary["rho_rule"]) == ("literal, quantile (1 of 2 prompts)", "value")
    assert (summary["pruned_psi"], summary["kept"], summary["fallback"]) == (2, 28, ["psi"])


def test_a_prompt_with_few_candidates_is_judged_with_its_direction():
    """Nine of a prompt are too few for a rule of their own: their rho is compared with the mean of the direction, not
    with their own; ten are enough."""
    assert prune.LEAST_CELL == 10
    config = PruneConfig(psi="off", rho="mean")
    for few, expected in ((9, ["kept"] * 9), (10, ["rho"] * 5 + ["kept"] * 5)):
        rho = [5.0 + n for n in range(few)]
        rows = [(0, 0.1, 1.0, -1.0 - n) for n in range(20)] + [(0, 0.1, 1.0, value) for value in rho]
        scores, candidates = tables(rows)
        candidates = with_prompts(candidates, ["many"] * 20 + ["few"] * few)
        found = [row["reason"] for row in prune.decide(scores, candidates, MEANS, config)]
        assert found[20:] == expected
        assert found[:20] == ["kept"] * 10 + ["rho"] * 10, "the many are judged by their own mean"


@pytest.mark.parametrize("psi", ["literal", "relative"])
@pytest.mark.parametrize("rho", ["value", "quantile", "mean"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_no_numbers_are_kept_by_no_rule_and_move_no_other_verdict(psi, rho, bad):
    rows = [(0, 0.1, 0.9, 5.0), (0, 0.2, 0.9, 4.0), (0, 0.95, 0.9, 3.0), (0, 0.3, 0.9, -1.0)]
    config = PruneConfig(psi=psi, rho=rho, rho_threshold=0.4 if rho == "quantile" else 0.0)
    alone = prune.decide(*tables(rows), {0: 0.9}, config)
    for place in range(3):
        damaged = [0.1, 0.9, 5.0]
        damaged[place] = bad
        *others, last = prune.decide(*tables([*rows, (0, *damaged)]), {0: 0.9}, config)
        assert others == alone
        assert (last["status"], last.get("keep")) == ("error", None)
        assert "not finite" in last["error"]
        (summary,) = prune.summary(*tables([*rows, (0, *damaged)]), {0: 0.9}, config)
        assert summary == prune.summary(*tables(rows), {0: 0.9}, config)[0]


def test_rows_that_failed_get_no_verdict():
    scores, candidates = tables([(0, 0.1, 1, 1.0), (0, 0.1, 1, 1.0)])
    rows = scores.to_pylist()
    rows[0] |= {"status": "error", "error": "no"}
    verdicts = prune.decide(pa.Table.from_pylist(rows, schema=SCORES), candidates, MEANS, PruneConfig())
    assert [row["id"] for row in verdicts] == [rows[1]["id"]]


def test_nothing_scored_gives_no_verdicts():
    assert prune.decide(*tables([]), MEANS, PruneConfig()) == []


ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1, width=32), st.floats(0, 1, width=32), st.floats(-3, 3, width=32)),
    max_size=30,
)
CONFIGS = st.builds(
    PruneConfig,
    psi=st.sampled_from(["literal", "relative", "value", "off"]),
    psi_threshold=st.floats(0, 1),
    rho=st.sampled_from(["value", "quantile", "mean", "off"]),
    rho_threshold=st.floats(0, 1),
    fallback=st.sampled_from(["relative", "quantile", "none"]),
)


@given(ROWS, CONFIGS, st.integers(0, 9), st.randoms())
@settings(max_examples=60, deadline=None)
def test_verdicts_do_not_depend_on_the_order_and_respect_the_budget(rows, config, budget, shuffler: random.Random):
    scores, candidates = tables(rows)
    budgets = {(0, 1): budget, (1, 0): budget}
    straight = {row["id"]: row["reason"] for row in prune.decide(scores, candidates, MEANS, config, budgets)}
    order = list(range(len(rows)))
    shuffler.shuffle(order)
    mixed = prune.decide(scores.take(pa.array(order, pa.int64())), candidates, MEANS, config, budgets)
    assert straight == {row["id"]: row["reason"] for row in mixed}
    for direction in prune.summary(scores, candidates, MEANS, config, budgets):
        assert direction["kept"] <= budget
        if config.fallback != "none":
            most = config.max_pruned * direction["generated"]
            assert direction["pruned_psi"] <= most
            assert direction["pruned_rho"] <= most


def test_stage_writes_verdicts_summary_and_a_warning(run_folder, caplog):
    scores, candidates = tables([(0, 0.99, 1.0, 1.0)] * 4 + [(1, 0.1, 1.0, 1.0)] * 3)
    train = [(f"s{n:03d}", 0 if n < 4 else 1) for n in range(7)]
    run_folder.tables |= {
        "score": scores,
        "inpaint": candidates,
        "erm": pa.Table.from_pylist(
            [
                {
                    "id": name, "label": label, "split": "train", "loss": 0.1, "probabilities": [0.5, 0.5],
                    "correct": True, "status": "ok", "error": "",
                }
                for name, label in train
            ],
            schema=PREDICTIONS,
        ),
    }  # fmt: skip
    table = run_folder.run(prune.stage(PruneConfig(), CLASSES, None, {}), batch_size=2)
    assert table.schema == VERDICTS
    assert table["id"].to_pylist() == scores["id"].to_pylist()
    assert table["reason"].to_pylist() == ["psi", "psi", "kept", "kept", "kept", "kept", "kept"]
    summary = json.loads((run_folder.folder("prune") / "summary.json").read_text())
    assert [row["kept"] for row in summary] == [2, 3]
    assert [row["direction"] for row in summary] == ["landbird → waterbird", "waterbird → landbird"]
    assert "Pruning landbird → waterbird: the psi head (literal)" in caplog.text


@pytest.mark.parametrize("per_class", [1, None])
def test_stage_budget_is_that_of_the_plan(run_folder, per_class):
    scores, candidates = tables([(0, 0.1, 1.0, 1.0 + n) for n in range(3)])
    erm = [("s000", 0), ("s001", 0), ("s002", 0), ("x", 1), ("y", 1)]
    run_folder.tables |= {
        "score": scores,
        "inpaint": candidates,
        "erm": pa.Table.from_pylist(
            [
                {
                    "id": name, "label": label, "split": "train", "loss": 0.1, "probabilities": [0.5, 0.5],
                    "correct": True, "status": "ok", "error": "",
                }
                for name, label in erm
            ],
            schema=PREDICTIONS,
        ),
    }  # fmt: skip
    table = run_folder.run(prune.stage(PruneConfig(), CLASSES, per_class, {}))
    assert table["reason"].to_pylist().count("kept") == (per_class or 2)
    assert table["reason"].to_pylist().count("over_budget") == 3 - (per_class or 2)


def test_candidates_that_are_all_rejected_stop_the_run(run_folder):
    scores, candidates = tables([(0, 0.99, 1.0, 1.0)] * 3 + [(1, 0.1, 1.0, -1.0)] * 2)
    erm = [
        {"id": f"s{n:03d}", "label": n // 3, "split": "train", "loss": 0.1, "probabilities": [0.5, 0.5],
         "correct": True, "status": "ok", "error": ""}
        for n in range(5)
    ]  # fmt: skip
    run_folder.tables |= {
        "score": scores, "inpaint": candidates, "erm": pa.Table.from_pylist(erm, schema=PREDICTIONS),
    }  # fmt: skip
    heads, directions = "3 by psi, 2 by rho", "landbird → waterbird, waterbird → landbird"
    expected = rf"all 5 candidates are rejected \({heads}; {directions}\).*report\.html"
    with pytest.raises(StageFailed, match=expected):
        run_folder.run(prune.stage(PruneConfig(fallback="none"), CLASSES, None, {}))
    assert run_folder.table("prune")["reason"].to_pylist() == ["psi"] * 3 + ["rho"] * 2, "there to look at"
