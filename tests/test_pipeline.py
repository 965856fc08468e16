"""What holds over all stages: order, blindness to attributes, thresholds that cost no new images, refill, status."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import miniature
from ddb import pipeline
from ddb.config import RunConfig
from ddb.engine.progress import Lines
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError, StageFailed
from ddb.refill import rejected_sources


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.draw(tmp_path_factory.mktemp("data") / "birds")


@pytest.fixture(scope="module")
def finished(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with every stage done; copy it before changing it."""
    return run(miniature.configuration(birds), tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def run(config: RunConfig, out: Path, **keywords: str) -> Path:
    return pipeline.run(config, out, progress=Lines(io.StringIO()), **keywords)  # type: ignore[arg-type]


def last_events(out: Path) -> list[dict[str, Any]]:
    """Events of the latest run."""
    events = Workspace(out, pipeline.STAGES).events()
    return events[max(index for index, event in enumerate(events) if event["event"] == "run") :]


def stages_with(out: Path, kind: str) -> list[str]:
    return [event["stage"] for event in last_events(out) if event["event"] == kind]


def test_a_stage_needs_only_stages_before_it(birds: Path, tmp_path: Path) -> None:
    from ddb.data.sources.load import load_dataset

    config = miniature.configuration(birds)
    stages = pipeline.build_stages(config, load_dataset(config.data), Workspace(tmp_path, pipeline.STAGES))
    assert tuple(stages) == pipeline.STAGES == miniature.STAGES
    for name, stage in stages.items():
        assert set(stage.needs) <= set(pipeline.STAGES[: pipeline.STAGES.index(name)]), name
        assert set(stage.row_needs) <= set(stage.needs), name


def test_a_finished_run_is_not_touched_again(copy: Path, birds: Path) -> None:
    before = miniature.tree(copy)
    run(miniature.configuration(birds), copy)
    assert stages_with(copy, "started") == []
    assert miniature.tree(copy) == before


def test_another_threshold_costs_no_new_image(copy: Path, birds: Path) -> None:
    images = miniature.tree(copy / "4-inpaint")
    run(miniature.configuration(birds, prune={"psi": "off", "rho": "off", "max_rounds": 1}), copy, until="prune")
    assert stages_with(copy, "stale") == ["prune"]
    table = Workspace(copy, pipeline.STAGES).table("inpaint")
    assert set(table["variant"].to_pylist()) == {0}  # retries are no longer called for
    assert images != miniature.tree(copy / "4-inpaint")
    reasons = pq.read_table(copy / "6-prune" / "part-00000.parquet")["reason"].to_pylist()
    assert set(reasons) <= {"kept", "over_budget"}
    assert stages_with(copy, "part") == ["prune"]


def test_rejected_sources_get_a_second_variant(finished: Path) -> None:
    workspace = Workspace(finished, pipeline.STAGES)
    rows = {row["id"]: row for row in workspace.table("inpaint").to_pylist()}
    reasons = dict(zip(*(workspace.table("prune")[name].to_pylist() for name in ("id", "reason")), strict=True))
    second = [row for row in rows.values() if row["variant"] == 1]
    assert second
    for row in second:
        first = rows[f"{row['source_id']}>{row['to_label']}#0"]
        assert row["seed"] != first["seed"]
    never_tried_again = [name for name, row in rows.items() if row["variant"] == 0 and _second(name) not in rows]
    assert any(reasons[name] in ("kept", "over_budget") for name in never_tried_again)


def _second(name: str) -> str:
    return name.removesuffix("#0") + "#1"


def test_rejected_sources_are_counted_by_the_share_that_passes() -> None:
    rows = {f"s{n}>1#0": {"source_id": f"s{n}", "from_label": 0, "to_label": 1} for n in range(10)}
    verdicts = [{"id": name, "reason": "kept" if n < 5 else "psi"} for n, name in enumerate(rows)]
    assert rejected_sources(verdicts, rows, {(0, 1): 5}) == []
    assert rejected_sources(verdicts, rows, {(0, 1): 6}) == ["s5", "s6"]  # half pass: two tries for one image
    assert rejected_sources(verdicts, rows, {(0, 1): 10}) == ["s5", "s6", "s7", "s8", "s9"]
    none = [{"id": name, "reason": "psi+rho"} for name in rows]
    assert rejected_sources(none, rows, {(0, 1): 1}) == [f"s{n}" for n in range(10)]


def test_stages_see_no_attribute(birds: Path, finished: Path, tmp_path: Path) -> None:
    """Other places in metadata.csv change nothing before the evaluation, where the epoch is chosen without groups."""
    turned = Path(shutil.copytree(birds, tmp_path / "birds"))
    with (turned / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (turned / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "place": n % 2} for n, row in enumerate(rows))
    blind = {"erm": {"selection": "worst_class"}}
    outs = [
        run(miniature.configuration(data, **blind, segment={"masks": str(birds / "masks")}), tmp_path / name)
        for data, name in ((birds, "a"), (turned, "b"))
    ]
    one, two = ({k: v for k, v in miniature.tree(out).items() if k.split("/")[0] in _BLIND} for out in outs)
    assert one == two
    assert miniature.tree(outs[0] / "8-evaluate") != miniature.tree(outs[1] / "8-evaluate")


_BLIND = ("1-erm", "2-invert", "3-segment", "4-inpaint", "5-score", "6-prune", "7-retrain", "balanced")


def test_until_and_only(birds: Path, tmp_path: Path) -> None:
    config = miniature.configuration(birds)
    run(config, tmp_path, until="segment")
    state = pipeline.status(tmp_path)
    assert [stage["state"] for stage in state["stages"]] == ["finished"] * 3 + ["not started"] * 5
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(StageFailed, match="score needs the results of inpaint"):
        run(config, tmp_path, only="score")
    run(config, tmp_path, only="inpaint")
    assert pipeline.status(tmp_path)["stages"][3]["state"] == "finished"
    with pytest.raises(ConfigError, match="no stage 'paint'"):
        run(config, tmp_path, only="paint")


def test_status_counts_rows(finished: Path) -> None:
    state = pipeline.status(finished)
    assert state["finished"]
    workspace = Workspace(finished, pipeline.STAGES)
    for stage in state["stages"]:
        assert stage["done"] == stage["planned"] == workspace.table(stage["stage"]).num_rows
        assert (stage["left"], stage["errors"]) == (0, 0)


def test_samples_and_names_stand_in_the_run_folder(finished: Path) -> None:
    samples = pq.read_table(finished / "samples.parquet")
    assert samples.num_rows == miniature.SIZES.train + miniature.SIZES.val + miniature.SIZES.test
    assert samples["attribute"].null_count == 0
    assert '"landbird"' in (finished / "dataset.json").read_text()
    from ddb.config.load import load_config

    assert load_config(finished / "config.yaml").name == "miniature"


def test_import_and_status_need_no_torch(finished: Path) -> None:
    code = (
        "import sys, ddb; dir(ddb); ddb.load_config, ddb.run\n"
        f"assert ddb.status({str(finished)!r})['finished']\n"
        "assert not {'torch', 'timm', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(pipeline.__file__).parents[1])}
    )


def test_public_names_resolve() -> None:
    import ddb

    assert all(getattr(ddb, name) for name in ddb.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        ddb.nothing  # noqa: B018
