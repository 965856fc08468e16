"""What the report shows beside the run's own figures: training curves, test images that changed, a measurement without
pruning, and what makes the run again."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddb.report.again import again
from ddb.report.changes import changes
from ddb.report.page import render
from ddb.report.reading import Run
from ddb.report.sources import SourcePictures
from ddb.report.training import fits
from ddb.report.unpruned import ARM, unpruned
from report_runs import RESULT, Folder, metrics, png

RunFolder = Callable[..., Folder]
EPOCHS = [{"epoch": n, "loss": 1 / n, "figures": [0.5 + 0.1 * n, 0.9]} for n in (1, 2, 3)]


def headings(run: Folder) -> str:
    return render(Run(run))


def test_curves_come_from_both_histories(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=2)
    assert fits(Run(run)) == [] and 'id="training"' not in headings(run)
    history = {"selection": "worst_class", "kept": 2, "epochs": EPOCHS}
    (run.folder("retrain") / "fit.json").write_text(json.dumps(history))
    (fit,) = fits(Run(run))
    assert (fit.title, fit.kept, fit.losses) == ("Retrained classifier", 2, [1, 1 / 2, 1 / 3])
    assert fit.figures == pytest.approx([0.6, 0.7, 0.8])
    text = headings(run)
    assert "Plain classifier: loss" not in text, "a model that was not trained has no curve"
    assert "Retrained classifier: loss" in text and "worst-class validation accuracy" in text
    (run.folder("erm") / "fit.json").write_text(
        json.dumps(history | {"epochs": [{"epoch": 1, "loss": 1, "figures": []}]})
    )
    assert [(fit.title, fit.figures) for fit in fits(Run(run))][0] == ("Plain classifier", [])


def outcomes(run: Folder, rows: list[dict[str, Any]]) -> None:
    """Other rows of stage evaluate; the test images are those of the training images of `run`."""
    path = run.folder("evaluate") / "part-00000.parquet"
    schema = pq.read_schema(path)
    ok = {"split": "test", "status": "ok", "error": ""}
    pq.write_table(pa.Table.from_pylist([{**ok, **row} for row in rows], schema=schema), path)


def test_changed_test_images_are_counted_and_shown_with_their_maps(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=6)
    right, wrong = {0: [0.8, 0.2], 1: [0.1, 0.9]}, {0: [0.3, 0.7], 1: [0.6, 0.4]}
    rows = [{"id": f"0{n:03d}", "label": 0, "before": wrong[0], "after": right[0]} for n in range(3)]
    rows += [{"id": "1000", "label": 1, "before": right[1], "after": wrong[1]}]
    rows += [{"id": "1001", "label": 1, "before": right[1], "after": right[1]}]
    rows += [{"id": "f", "label": 1, "before": wrong[1], "after": right[1], "split": "in_distribution"}]
    outcomes(run, rows)
    found = changes(Run(run), SourcePictures(Run(run)))
    assert {kind: (one.count, one.groups) for kind, one in found.items()} == {
        "repaired": (3, {"landbird, forest": 3}),
        "broken": (1, {"waterbird, lake": 1}),
    }
    (broken,) = found["broken"].images
    assert (broken.path, broken.before, broken.after) == ("train/1000.png", "waterbird (0.90)", "landbird (0.60)")
    assert broken.image.startswith("data:image/webp") and broken.map_before == ""
    heat = np.arange(16, dtype=np.uint8).reshape(4, 4)
    maps = [{"id": "0001", "kind": "repaired", "before": png(heat), "after": png(heat.T.copy())}]
    pq.write_table(pa.Table.from_pylist(maps), run.folder("evaluate") / "changes.parquet")
    (repaired,) = changes(Run(run), SourcePictures(Run(run)))["repaired"].images
    assert repaired.path == "train/0001.png" and repaired.map_before != repaired.map_after
    text = headings(run)
    assert "Repaired: 3 images" in text and "Newly broken: 1 image<" in text


def plan_of(run: Path, stage: str, number: int, result: str = RESULT, **facts: Any) -> Path:
    folder = run / f"{number}-{stage}" / result
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps({"key": "k", "planned": 0, **facts}))
    return folder


HEADS = {"prune.psi": "literal", "prune.rho": "value", "classes": 2}
OFF = {"prune.psi": "off", "prune.rho": "off", "classes": 2}
CANDIDATES = {"erm": "e:1", "inpaint": "i:1", "score": "s:1"}


def with_arm(run: Path, off: dict[str, Any], needs: dict[str, str], retrain: dict[str, Any]) -> None:
    """The run's own plans, and results "none" of prune, retrain and evaluate beside them."""
    for result, content, own in ((RESULT, HEADS, CANDIDATES), ("none", off, needs)):
        fits = {"erm": "e:1", "inpaint": "i:1", "prune": f"{result}:1"}
        plan_of(run, "prune", 6, result, content=content, needs=own)
        plan_of(run, "retrain", 7, result, content={"lr": 1} if result == RESULT else retrain, needs=fits)
        outcome = {"erm": "e:1", "segment": "g:1", "inpaint": "i:1", "prune": f"{result}:1", "retrain": f"{result}:1"}
        folder = plan_of(run, "evaluate", 8, result, content={"data": 1}, needs=outcome)
        (folder / "done.json").write_text(json.dumps({"key": "k", "digest": "0", "rows": 1, "errors": 0}))
    figures = metrics(-0.25)
    figures["counts"]["kept"] = 210
    (run / "8-evaluate" / "none" / "metrics.json").write_text(json.dumps(figures))


def test_a_measurement_without_pruning_in_the_run_folder_is_shown(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=2)
    assert unpruned(Run(run)) is None and 'id="unpruned"' not in headings(run)
    with_arm(run.root, OFF, CANDIDATES, {"lr": 1})
    found = unpruned(Run(run))
    assert found is not None
    assert (found.kept, found.where) == (210, "8-evaluate/none")
    assert found.figures["worst_group_accuracy"] == pytest.approx(0.8727 - 0.25)
    text = headings(run)
    section = text[text.index('id="unpruned"') : text.index('id="changes"')]
    for figure in ("41.7%", "62.3%", "87.3%", "210"):  # plain, without pruning, this run
        assert figure in section
    assert "Flip rate" not in section, "measured on the kept pairs"


@pytest.mark.parametrize(
    "arm",
    [
        (HEADS, CANDIDATES, {"lr": 1}),  # it prunes as well
        (OFF | {"prune.rho": "value"}, CANDIDATES, {"lr": 1}),  # one head is on
        (OFF, CANDIDATES | {"inpaint": "other:2"}, {"lr": 1}),  # other candidates
        (OFF | {"per_class": 5}, CANDIDATES, {"lr": 1}),  # another budget
        (OFF, CANDIDATES, {"lr": 2}),  # another training
    ],
)
def test_what_differs_in_more_than_pruning_is_not_shown(run_folder: RunFolder, arm: Any) -> None:
    run = run_folder(per_direction=2)
    with_arm(run.root, *arm)
    assert unpruned(Run(run)) is None


def test_a_record_of_the_bench_is_shown(run_folder: RunFolder) -> None:
    """A run folder SEED/run, the arm SEED/variants/pruning-none, and its record in SEED/scores."""
    run = run_folder(per_direction=2)
    with_arm(run.root, HEADS, CANDIDATES, {"lr": 1})
    seed = run.root.parent
    variant = seed / "variants" / ARM
    fits = {"erm": "e:1", "inpaint": "i:1", "prune": "none:1"}
    summary = [{"from_label": 0, "to_label": 1, "generated": 9, "kept": 9}]
    folder = plan_of(variant, "prune", 6, "none", content=OFF, needs=CANDIDATES)
    (folder / "summary.json").write_text(json.dumps(summary))
    plan_of(variant, "retrain", 7, "none", content={"lr": 1}, needs=fits)
    results = {stage: {"fingerprint": "none", "key": "k"} for stage in ("prune", "retrain")}
    (variant / "current.json").write_text(json.dumps({"stages": [], "results": results}))
    assert unpruned(Run(run)) is None, "the arm has no record yet"
    (seed / "scores").mkdir()
    record = {"arm": "none", "directions": [summary[0] | {"oracle_after": 0.9}], "test": metrics(-0.1)["after"]}
    (seed / "scores" / f"{ARM}-000000000000.json").write_text(json.dumps(record))
    other = record | {"directions": [summary[0] | {"kept": 8}]}
    (seed / "scores" / f"{ARM}-0.json").write_text(json.dumps(other))  # of other settings
    found = unpruned(Run(run))
    assert found is not None and found.kept == 9
    assert found.figures["worst_group_accuracy"] == pytest.approx(0.7727)
    assert found.where.endswith("000000000000.json")


def test_the_command_seed_and_versions_make_the_run_again(run_folder: RunFolder) -> None:
    run = run_folder(per_direction=2)
    strange = run.root.with_name("a 'run' $(x)")
    shutil.move(run.root, strange)
    found = again(Run(Folder(strange)))
    assert found is not None
    assert shlex.split(found.command) == ["ddb", "run", f"{strange}/config.yaml", "--out", f"{strange}-again"]
    assert found.seed == "0" and found.versions["torch"] == "2.14.1" and "epochs: 20" in found.settings
    (strange / "config.yaml").unlink()
    assert again(Run(Folder(strange))) is None
