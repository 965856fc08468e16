"""metrics.json: its keys, with the values that follow from the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.config import DataConfig, EvaluateConfig, PocketConfig, PruneConfig, RetrainConfig, ScoreConfig
from ddb.data.images import read_image, read_png
from ddb.data.table import Dataset
from ddb.learn.device import open_accelerator
from ddb.learn.shortcuts import margin_attributions
from ddb.records import OUTCOMES, SAMPLES, Group
from ddb.stages import erm, evaluate, prune, retrain, score
from ddb.stages.evaluate import worker

KEYS = {
    "worst_group_accuracy", "mean_accuracy", "adjusted_mean_accuracy", "worst_class_accuracy", "ece", "auroc", "groups",
}  # fmt: skip


@pytest.fixture
def evaluated(painted, squares, tiny_erm):
    context, retraining = painted.context(squares), RetrainConfig(epochs=1, batch_size=16)
    painted.run(erm.stage(context, tiny_erm, {}))
    painted.run(score.stage(context, ScoreConfig(maps=0), {}))
    painted.run(prune.stage(PruneConfig(psi="off", rho="off"), squares.classes, None, {}))
    painted.run(retrain.stage(context, retraining, tiny_erm, {}))
    painted.run(stage_of(painted, squares))
    return painted


def stage_of(folder, dataset, data=None, **settings):
    return evaluate.stage(folder.context(dataset), dataset, EvaluateConfig(**settings), data or DataConfig(), {})


def metrics_of(folder):
    return json.loads((folder.folder("evaluate") / "metrics.json").read_text())


def test_metrics_hold_what_was_promised(evaluated, squares):
    metrics = metrics_of(evaluated)
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
    train = squares.counts()["train"]
    found = {(g["label"], g["attribute"]): g["train"] for g in metrics["after"]["groups"]}
    assert found == {(y, a): train.get(Group(y, a), 0) for y in (0, 1) for a in (0, 1)}


def test_counts_and_extras(evaluated):
    metrics = metrics_of(evaluated)
    counts = metrics["counts"]
    assert (counts["generated"], counts["kept"], counts["pruned_psi"], counts["pruned_rho"]) == (48, 48, 0, 0)
    assert [(d["from_label"], d["to_label"], d["kept"]) for d in counts["directions"]] == [(0, 1, 24), (1, 0, 24)]
    assert metrics["selection"]["selection"] == "worst_class"
    assert metrics["in_distribution"] is None
    assert metrics["flip_rate"]["pairs"] == 48
    assert metrics["shortcut_reliance"]["area_outside"] == 0.75
    assert 0 <= metrics["shortcut_reliance"]["after"] <= 1
    assert {row["attribute"] for row in metrics["leak"]["by_attribute"]} <= {0, 1}


def test_a_row_does_not_depend_on_which_others_are_asked_for(evaluated, squares):
    stage = stage_of(evaluated, squares, batch_size=5)
    whole = evaluated.rows(stage)
    some = whole[2::7]
    assert evaluated.rows(stage, left=[row["id"] for row in some]) == some


def test_an_image_without_an_outcome_is_left_out_and_the_others_keep_their_own_attribute() -> None:
    """Of eight test images t0 failed; t3 (cat, b) is taken for a dog."""
    rows = [{"id": f"t{n}", "image": f"t{n}", "label": n // 4, "attribute": n % 2, "split": "test"} for n in range(8)]
    train = [{**row, "id": "r" + row["id"], "split": "train"} for row in rows]
    samples = pa.Table.from_pylist([*train, *rows], SAMPLES)
    dataset = Dataset(Path(), samples, ("cat", "dog"), ("a", "b"), "pet", (), "")
    outcomes = [
        {"id": row["id"], "label": row["label"], "split": "test", "status": "ok", "error": "",
         "before": [0.9, 0.1] if (row["label"] == 0) != (row["id"] == "t3") else [0.1, 0.9]}
        for row in rows[1:]
    ]  # fmt: skip
    found = worker._figures(dataset, pa.Table.from_pylist(outcomes, OUTCOMES), "before")
    assert {(group["label"], group["attribute"]): (group["n"], group["accuracy"]) for group in found["groups"]} == {
        (0, 0): (1, 1.0), (0, 1): (2, 0.5), (1, 0): (2, 1.0), (1, 1): (2, 1.0),
    }  # fmt: skip
    assert found["worst_group_accuracy"] == 0.5
    assert found["mean_accuracy"] == pytest.approx(6 / 7)


def test_metrics_are_made_of_the_rows_that_did_not_fail(evaluated, squares):
    """The first test image failed: the figures are those of the other 15, as counted here."""
    rows = evaluated.tables["evaluate"].to_pylist()
    rows[0] = {"id": rows[0]["id"], "status": "error", "error": "RuntimeError: no luck"}
    evaluated.tables["evaluate"] = pa.Table.from_pylist(rows, OUTCOMES)
    stage_of(evaluated, squares).finish(evaluated, evaluated.folder("evaluate"))
    attributes = dict(zip(*(squares.split("test")[name].to_pylist() for name in ("id", "attribute")), strict=True))
    figures = metrics_of(evaluated)["after"]
    right = {row["id"]: int(np.argmax(row["after"])) == row["label"] for row in rows[1:]}
    assert figures["mean_accuracy"] == pytest.approx(np.mean(list(right.values())))
    for group in figures["groups"]:
        own = [
            right[row["id"]]
            for row in rows[1:]
            if (row["label"], attributes[row["id"]]) == (group["label"], group["attribute"])
        ]
        assert (group["n"], group["accuracy"]) == (len(own), pytest.approx(np.mean(own)))


def test_a_classifier_that_gives_no_number_gives_an_error_row(evaluated, squares, monkeypatch):
    real = worker.predict.logits

    def logits(classifier, pixels, *rest):
        found = real(classifier, pixels, *rest)
        found[1] = float("inf")
        return found

    stage = stage_of(evaluated, squares, batch_size=16)
    whole = evaluated.rows(stage)
    monkeypatch.setattr(worker.predict, "logits", logits)
    rows = evaluated.rows(stage)
    assert rows[1]["status"] == "error" and "not finite" in rows[1]["error"]
    assert rows[:1] + rows[2:] == whole[:1] + whole[2:]


def test_without_attributes_the_group_figures_are_unknown(evaluated, squares):
    evaluated.run(stage_of(evaluated, squares.without_attributes()))
    metrics = metrics_of(evaluated)
    assert metrics["after"]["worst_group_accuracy"] is None
    assert [group["attribute"] for group in metrics["after"]["groups"]] == [None, None]
    assert metrics["leak"]["by_attribute"] == []


def test_in_distribution_images_are_drawn_and_judged(evaluated, squares):
    data = DataConfig(source="pocket", pocket=PocketConfig(train=20, val=8, test=8))
    stage = stage_of(evaluated, squares, data, in_distribution=12)
    rows = [row for row in evaluated.run(stage).to_pylist() if row["split"] == "in_distribution"]
    metrics = metrics_of(evaluated)
    assert metrics["in_distribution"]["n"] == len(rows) == 12
    expected = np.mean([int(np.argmax(row["after"])) == row["label"] for row in rows])
    assert metrics["in_distribution"]["after"] == pytest.approx(expected)
    assert metrics["before"]["groups"][0]["n"] == 4  # the test figures leave them out


def test_maps_of_repaired_and_broken_images_are_those_of_both_classifiers(evaluated, squares):
    """The rows are changed here so that three images were repaired and two broken; the maps are computed again."""
    rows = evaluated.tables["evaluate"].to_pylist()
    sure = ([1.0, 0.0], [0.0, 1.0])
    for number, row in enumerate(rows):
        right, wrong = sure[row["label"]], sure[1 - row["label"]]
        row |= {"before": wrong if number < 3 else right, "after": wrong if 3 <= number < 5 else right}
    evaluated.tables["evaluate"] = pa.Table.from_pylist(rows, OUTCOMES)
    expected = {"repaired": {row["id"] for row in rows[:3]}, "broken": {row["id"] for row in rows[3:5]}}
    stage_of(evaluated, squares, maps=100).finish(evaluated, evaluated.folder("evaluate"))
    found = pq.read_table(evaluated.folder("evaluate") / "changes.parquet").to_pylist()
    assert {kind: {row["id"] for row in found if row["kind"] == kind} for kind in expected} == expected
    runtime = open_accelerator("cpu", "fp32").exact()
    labels = dict(zip(squares.samples["id"].to_pylist(), squares.samples["label"].to_pylist(), strict=True))
    for row in (found[0], found[-1]):
        for when, stage in (("before", "erm"), ("after", "retrain")):
            loaded = load_classifier(evaluated.folder(stage) / "classifier")
            image = read_image(squares.root, squares.samples["image"][squares.rows[row["id"]]].as_py())
            pixels = loaded.card.preprocessing.square(image)[None]
            heat = np.abs(margin_attributions(loaded.classifier, pixels, np.array([labels[row["id"]]]), runtime)[0])
            shown = read_png(row[when])[..., 0].astype(np.float64)
            np.testing.assert_allclose(shown, 255 * heat / heat.max(), atol=1.01)
    stage_of(evaluated, squares, maps=1).finish(evaluated, evaluated.folder("evaluate"))
    few = pq.read_table(evaluated.folder("evaluate") / "changes.parquet")["kind"].to_pylist()
    assert sorted(few) == ["broken", "repaired"]
