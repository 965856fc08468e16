"""metrics.json: the keys that were promised, with the values that the tables imply."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ddb.config import DataConfig, EvaluateConfig, PocketConfig, PruneConfig, RetrainConfig, ScoreConfig
from ddb.stages import erm, evaluate, prune, retrain, score

KEYS = {
    "worst_group_accuracy", "mean_accuracy", "adjusted_mean_accuracy", "worst_class_accuracy", "ece", "auroc", "groups",
}  # fmt: skip


@pytest.fixture
def evaluated(painted, squares, tiny_erm):
    blind = squares.without_attributes()
    painted.run(erm.stage(blind, tiny_erm, 0, "cpu", "fp32"))
    painted.run(score.stage(blind, ScoreConfig(maps=0), tiny_erm, "cpu", "fp32"))
    painted.run(prune.stage(PruneConfig(psi="off", rho="off"), 2, None))
    painted.run(retrain.stage(blind, RetrainConfig(epochs=1, batch_size=16), tiny_erm, 0, "cpu", "fp32"))
    painted.run(evaluate.stage(squares, EvaluateConfig(), DataConfig(), tiny_erm, "cpu", "fp32"))
    return painted


def test_metrics_hold_what_was_promised(evaluated, squares):
    metrics = json.loads((evaluated.folder("evaluate") / "metrics.json").read_text())
    outcomes = evaluated.table("evaluate").to_pylist()
    attributes = squares.split("test")["attribute"].to_pylist()
    for when in ("before", "after"):
        figures = metrics[when]
        assert set(figures) == KEYS
        right = [int(np.argmax(row[when])) == row["label"] for row in outcomes]
        assert figures["mean_accuracy"] == pytest.approx(np.mean(right))
        cells = {(g["label"], g["attribute"]): g for g in figures["groups"]}
        assert set(cells) == {(y, a) for y in (0, 1) for a in (0, 1)}
        for (y, a), group in cells.items():
            own = [r for r, row, b in zip(right, outcomes, attributes, strict=True) if (row["label"], b) == (y, a)]
            assert (group["n"], group["accuracy"]) == (len(own), pytest.approx(np.mean(own)))
            assert 0 <= group["low"] <= group["accuracy"] <= group["high"] <= 1
        assert figures["worst_group_accuracy"] == min(g["accuracy"] for g in figures["groups"])
    assert {g["label_name"] for g in metrics["after"]["groups"]} == {"dark", "red"}


def test_counts_and_extras(evaluated):
    metrics = json.loads((evaluated.folder("evaluate") / "metrics.json").read_text())
    counts = metrics["counts"]
    assert (counts["generated"], counts["kept"], counts["pruned_psi"], counts["pruned_rho"]) == (48, 48, 0, 0)
    assert [(d["from_label"], d["to_label"], d["kept"]) for d in counts["directions"]] == [(0, 1, 24), (1, 0, 24)]
    assert metrics["selection"]["selection"] == "worst_class"
    assert metrics["in_distribution"] is None
    assert metrics["flip_rate"]["pairs"] == 48
    assert metrics["shortcut_reliance"]["area_outside"] == 0.75
    assert 0 <= metrics["shortcut_reliance"]["after"] <= 1
    assert {row["attribute"] for row in metrics["leak"]["by_attribute"]} <= {0, 1}


def test_batches_of_any_size_give_the_same_bytes(evaluated, squares, tiny_erm):
    stage = evaluate.stage(squares, EvaluateConfig(batch_size=5), DataConfig(), tiny_erm, "cpu", "fp32")
    assert evaluated.run(stage, 3).equals(evaluated.run(stage, 16))


def test_without_attributes_the_group_figures_are_unknown(evaluated, squares, tiny_erm):
    blind = squares.without_attributes()
    evaluated.run(evaluate.stage(blind, EvaluateConfig(), DataConfig(), tiny_erm, "cpu", "fp32"))
    metrics = json.loads((evaluated.folder("evaluate") / "metrics.json").read_text())
    assert metrics["after"]["worst_group_accuracy"] is None
    assert [group["attribute"] for group in metrics["after"]["groups"]] == [None, None]
    assert metrics["leak"]["by_attribute"] == []


def test_in_distribution_images_are_drawn_and_judged(evaluated, squares, tiny_erm):
    data = DataConfig(source="pocket", pocket=PocketConfig(train=20, val=8, test=8))
    stage = evaluate.stage(squares, EvaluateConfig(in_distribution=12), data, tiny_erm, "cpu", "fp32")
    rows = [row for row in evaluated.run(stage).to_pylist() if row["split"] == "in_distribution"]
    metrics = json.loads((evaluated.folder("evaluate") / "metrics.json").read_text())
    assert metrics["in_distribution"]["n"] == len(rows) == 12
    expected = np.mean([int(np.argmax(row["after"])) == row["label"] for row in rows])
    assert metrics["in_distribution"]["after"] == pytest.approx(expected)
    assert metrics["before"]["groups"][0]["n"] == 4  # the test figures leave them out
