"""From the drawn world to metrics.json, balanced/ and report.html in one call: what the run folder holds, and that its
parts agree with each other."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

import ddb
import miniature
from ddb.data.images import read_image, read_mask, read_png
from ddb.engine.progress import Lines
from ddb.engine.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end-to-end")
    masks = miniature.draw(folder / "birds") / "masks"  # the run draws the same birds again
    data = {"source": "pocket", "root": "", "phrase": "bird", "pocket": miniature.SIZES}
    config = miniature.configuration(
        folder / "birds", data=data, segment={"masks": str(masks)}, evaluate={"in_distribution": 16}
    )
    return ddb.run(config, folder / "run", progress=Lines(io.StringIO()))


def test_the_run_folder_holds_what_it_promises(out: Path) -> None:
    names = {path.name for path in out.iterdir()} - {".lock", "cache"}
    stages = {f"{number}-{name}" for number, name in enumerate(miniature.STAGES, 1)}
    files = {"config.yaml", "dataset.json", "environment.json", "events.jsonl", "metrics.json", "product.json"}
    assert names == stages | files | {"balanced", "report.html", "samples.parquet"}
    for stage in stages:
        assert {"part-00000.parquet", "plan.json", "done.json"} <= {path.name for path in (out / stage).iterdir()}
        assert len(list((out / stage).glob("*.parquet"))) == 1


def test_metrics_have_the_promised_keys(out: Path) -> None:
    metrics = json.loads((out / "metrics.json").read_text())
    for when in ("before", "after"):
        assert {
            *("worst_group_accuracy", "mean_accuracy", "adjusted_mean_accuracy", "worst_class_accuracy"),
            *("ece", "auroc", "groups"),
        } <= set(metrics[when])
        groups = metrics[when]["groups"]
        assert sum(group["n"] for group in groups) == miniature.SIZES.test
        assert metrics[when]["worst_group_accuracy"] == min(group["accuracy"] for group in groups)
        assert all(group["low"] <= group["accuracy"] <= group["high"] for group in groups)
    assert metrics["in_distribution"]["n"] == 16


def test_counts_agree_with_the_tables(out: Path) -> None:
    counts = json.loads((out / "metrics.json").read_text())["counts"]
    workspace = Workspace.at(out)
    reasons = Counter(workspace.table("prune")["reason"].to_pylist())
    assert counts["generated"] == workspace.table("score").num_rows == workspace.table("inpaint").num_rows
    assert counts["kept"] == reasons["kept"]
    assert counts["pruned_psi"] == reasons["psi"] + reasons["psi+rho"]


def test_only_the_masked_pixels_differ_from_the_source(out: Path) -> None:
    workspace = Workspace.at(out)
    root = Path(json.loads((out / "dataset.json").read_text())["root"])
    masks = {row["id"]: row["mask"] for row in workspace.table("segment").to_pylist()}
    differ = 0
    for row in workspace.table("inpaint").to_pylist():
        source, image, changed = read_image(root, row["source_id"]), read_png(row["image"]), read_mask(row["changed"])
        assert (image[~changed] == source[~changed]).all()
        assert not (changed & ~read_mask(masks[row["source_id"]])).any()
        differ += int((image != source).any())
    assert differ > 0


def test_the_product_opens_elsewhere(out: Path) -> None:
    balanced = datasets.load_dataset(
        "imagefolder", data_dir=str(out / "balanced"), split="train", cache_dir=str(out / "hf")
    )
    kept = json.loads((out / "metrics.json").read_text())["counts"]["kept"]
    assert len(balanced) == miniature.SIZES.train + kept
    assert sum(balanced["synthetic"]) == kept
    first = balanced.filter(lambda row: row["synthetic"])[0]
    assert np.asarray(first["image"]).shape == (64, 64, 3)


def test_the_classifier_opens_elsewhere(out: Path) -> None:
    classifier = ddb.load_classifier(out / "7-retrain" / "classifier")
    samples = Workspace.at(out)
    outcome = samples.table("evaluate").to_pylist()[0]
    root = Path(json.loads((out / "dataset.json").read_text())["root"])
    with Image.open(root / outcome["id"]) as image:
        (answer,) = classifier.predict([image])
    assert list(answer) == ["landbird", "waterbird"]
    assert list(answer.values()) == pytest.approx(outcome["after"], abs=0.02)


def test_the_report_is_there_and_self_contained(out: Path) -> None:
    page = (out / "report.html").read_text("utf-8")
    assert "landbird" in page
    assert not [word for word in ('src="http', 'href="http', "src='http", "@import") if word in page]
