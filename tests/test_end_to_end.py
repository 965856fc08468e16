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
from ddb import pipeline
from ddb.backends.generators.diffusion.learning import inversion
from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.data.counterfactuals import Counterfactuals
from ddb.data.images import read_mask
from ddb.data.sources.load import load_dataset
from ddb.engine.progress import Lines
from ddb.engine.workspace import Workspace

pytestmark = pytest.mark.slow


def run(config: RunConfig, out: Path, **keywords: str) -> Path:
    return ddb.run(config, out, progress=Lines(io.StringIO()), **keywords).folder  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end-to-end")
    masks = miniature.draw(folder / "birds") / "masks"  # the run draws the same birds again
    data = {"source": "pocket", "root": "", "phrase": "bird", "pocket": miniature.SIZES}
    config = miniature.configuration(
        folder / "birds", data=data, segment={"masks": str(masks)}, evaluate={"in_distribution": 16}
    )
    return run(config, folder / "run")


def test_the_run_folder_holds_what_it_promises(out: Path) -> None:
    names = {path.name for path in out.iterdir()} - {".lock", "cache", "hf"}
    stages = {f"{number}-{name}" for number, name in enumerate(miniature.STAGES, 1)}
    files = {"config.yaml", "dataset.json", "environment.json", "samples.parquet", "current.json", "events.jsonl"}
    assert names == stages | files | {"handed_over.json", "classifier", "balanced", "metrics.json", "report.html"}
    for stage in stages:
        (result,) = (out / stage).iterdir()
        assert {"part-00000.parquet", "plan.json", "done.json"} <= {path.name for path in result.iterdir()}
        own = ["changes.parquet"] if stage == "8-evaluate" else []
        tables = sorted(path.name for path in result.glob("*.parquet"))
        assert tables == [*own, "part-00000.parquet", "planned.parquet"]


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
    found = Counterfactuals(workspace, load_dataset(load_config(out / "config.yaml").data, out / "cache"))
    masks = {
        name: read_mask(next(iter(workspace.payload("segment", "mask", [name])))) for name in set(found.source_ids)
    }
    differ = 0
    for one in found.images(range(len(found))):
        assert (one.image[~one.changed] == one.source[~one.changed]).all()
        assert not (one.changed & ~masks[found.source_ids[one.row]]).any()
        differ += int((one.image != one.source).any())
    assert differ > 0


def test_the_balanced_data_opens_elsewhere(out: Path) -> None:
    balanced = datasets.load_dataset(
        "imagefolder", data_dir=str(out / "balanced"), split="train", cache_dir=str(out / "hf")
    )
    kept = json.loads((out / "metrics.json").read_text())["counts"]["kept"]
    assert len(balanced) == miniature.SIZES.train + kept
    assert sum(balanced["synthetic"]) == kept
    first = balanced.filter(lambda row: row["synthetic"])[0]
    assert np.asarray(first["image"]).shape == (64, 64, 3)


def test_the_classifier_opens_elsewhere(out: Path) -> None:
    classifier = ddb.load_classifier(out / "classifier")
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


NAMES = ("\u0642\u0637\u0629", "cafe\u0301 noir", "\u72ac\U0001f436")
"""Arabic, a combining accent, Chinese and an emoji."""


def three_classes(root: Path) -> RunConfig:
    """Discs of three shades on blue or green, a folder a class, with masks; tokens and images by the built-in diffusion
    model in two steps."""
    rng, mask = np.random.default_rng(0), np.hypot(*(np.indices((64, 64)) - 32)) < 14
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for label, name in enumerate(NAMES):
            for number in range(count):
                image = rng.integers(0, 30, (64, 64, 3), dtype=np.uint8)
                image[..., 1 + number % 2] += np.uint8(90)
                image[mask] = np.uint8(40 + 90 * label)
                for kind, pixels in (("images", image), ("masks", mask.astype(np.uint8) * 255)):
                    path = root / kind / split / name / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
    data = {"source": "folder", "root": str(root / "images"), "phrase": "disc"}
    changes = miniature.DIFFUSION | {
        "data": data, "erm": {"selection": "worst_class", "epochs": 1}, "retrain": {"epochs": 1},
        "prune": {"psi": "off", "rho": "quantile", "rho_threshold": 0.5, "max_rounds": 1},
    }  # fmt: skip
    return miniature.configuration(root, **changes)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    folder = tmp_path_factory.mktemp("three-classes")
    config = three_classes(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inversion, "HELD_OUT_PAIRS", 6)  # most of the time of a lesson this short
        return config, run(config, folder / "run")


def test_three_classes_are_painted_into_each_other(discs: tuple[RunConfig, Path]) -> None:
    _, out = discs
    facts = json.loads((out / "dataset.json").read_text())
    assert sorted(facts["classes"]) == sorted(NAMES)
    tokens = ddb.table(out, "invert").to_pylist()
    assert [(row["token"], row["status"]) for row in tokens] == [(f"<ddb-{label}>", "ok") for label in range(3)]
    candidates = ddb.table(out, "inpaint").to_pylist()
    directions = {(row["from_label"], row["to_label"]) for row in candidates}
    assert directions == {(one, other) for one in range(3) for other in range(3) if one != other}
    assert all(row["status"] == "ok" and f"<ddb-{row['to_label']}>" in row["prompt"] for row in candidates)
    counts = json.loads((out / "metrics.json").read_text())["counts"]
    assert counts["generated"] == len(candidates)
    assert 0 < counts["kept"] < counts["generated"]
    assert len(counts["directions"]) == 6


def test_names_of_other_alphabets_reach_every_product_unchanged(discs: tuple[RunConfig, Path], tmp_path: Path) -> None:
    _, out = discs
    page = (out / "report.html").read_text("utf-8")
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    classes = metrics["classes"]
    assert sorted(classes) == sorted(NAMES)
    assert all(name in page for name in NAMES)
    assert {group["label_name"] for group in metrics["after"]["groups"]} == set(NAMES)
    from ddb.export import export_run

    product = export_run(out, tmp_path / "product")
    source = sorted((out.parent / "images" / "test" / NAMES[2]).iterdir())[0]
    (answer,) = ddb.load_classifier(product / "classifier").predict(source)
    assert list(answer) == classes
    balanced = datasets.load_dataset(
        "imagefolder", data_dir=str(product / "balanced"), split="train", cache_dir=str(tmp_path / "hf")
    )
    assert len(balanced) == 24 + metrics["counts"]["kept"]
    labels = [row["label"] for row in balanced if not row["synthetic"]]
    assert Counter(labels) == {0: 8, 1: 8, 2: 8}
    for row in balanced:
        if not row["synthetic"]:
            assert row["id"].split("/")[1] == classes[row["label"]]


def test_classes_without_a_token_are_called_by_their_names(discs: tuple[RunConfig, Path]) -> None:
    """The text encoder reads names of other alphabets. Another number of steps is told, and re-learns no token."""
    config, out = discs
    tree = config.model_dump()
    tree["inpaint"]["steps"] = 3
    lines = pipeline.dry_run(RunConfig.model_validate(tree), out)
    assert lines[1] == "kept: erm, invert, segment"
    assert lines[2].startswith("inpaint: 12 of 12 rows to compute") and "inpaint.steps 2 -> 3" in lines[2]
    tree = config.model_dump()
    tree["invert"]["representatives"] = 0
    run(RunConfig.model_validate(tree), out, until="inpaint")
    assert set(miniature.computed(out)) == {"invert", "inpaint"}
    classes = json.loads((out / "dataset.json").read_text())["classes"]
    for row in ddb.table(out, "inpaint").to_pylist():
        assert (row["status"], row["prompt"]) == ("ok", f"a photo of a {classes[row['to_label']]} disc")


def test_fewer_counterfactuals_keep_the_others_aside(discs: tuple[RunConfig, Path]) -> None:
    config, out = discs
    run(config, out)
    images = ddb.table(out, "inpaint")["id"].to_pylist()
    bytes_before = {name: digest for name, digest in miniature.tree(out).items() if "part-" in name}
    tree = config.model_dump()
    tree["inpaint"]["per_class"] = 2
    run(RunConfig.model_validate(tree), out, until="score")
    assert miniature.computed(out) == {}
    few = ddb.table(out, "inpaint")["id"].to_pylist()
    assert few == ddb.table(out, "score")["id"].to_pylist() == [name for name in images if name in set(few)]
    assert len(few) == 6 < len(images) == 12
    run(config, out, until="score")
    assert miniature.computed(out) == {}
    after = miniature.tree(out)
    assert {name: after[name] for name in bytes_before} == bytes_before
