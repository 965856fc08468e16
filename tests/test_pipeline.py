"""What holds over all stages: order, blindness to attributes, refill, status, and whom a run folder belongs to. What a
changed setting costs is in test_settings.py."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import ddb
import miniature
from ddb import pipeline
from ddb.config import DataConfig, RunConfig
from ddb.engine import journal
from ddb.engine.state import in_words
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError, DDBError, StageFailed
from ddb.export import export_run
from ddb.refill import rejected_sources
from ddb.run_folder import default_folder
from miniature import run


def test_a_stage_needs_only_stages_before_it(birds: Path, tmp_path: Path) -> None:
    from ddb.data.sources.load import load_dataset

    config = miniature.configuration(birds)
    stages = pipeline.build_stages(config, load_dataset(config.data), Workspace(tmp_path, pipeline.STAGES))
    assert tuple(stage.name for stage in stages) == pipeline.STAGES == miniature.STAGES
    for number, stage in enumerate(stages):
        assert set(stage.needs) <= set(pipeline.STAGES[:number]), stage.name


def test_a_finished_run_is_not_touched_again(copy: Path, birds: Path) -> None:
    before = miniature.tree(copy)
    run(miniature.configuration(birds), copy)
    assert [event["event"] for event in journal.events(copy)][-9:] == ["run", *["skipped"] * 8]
    assert miniature.tree(copy) == before


def test_rejected_sources_get_a_second_variant(finished: Path) -> None:
    rows = {row["id"]: row for row in ddb.table(finished, "inpaint").to_pylist()}
    reasons = dict(zip(*(ddb.table(finished, "prune")[name].to_pylist() for name in ("id", "reason")), strict=True))
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
    with pytest.raises(StageFailed, match="stage inpaint is not finished under the present settings"):
        ddb.table(tmp_path, "inpaint")
    with pytest.raises(StageFailed, match="score needs the results of inpaint"):
        run(config, tmp_path, only="score")
    run(config, tmp_path, only="inpaint")
    assert pipeline.status(tmp_path)["stages"][3]["state"] == "finished"
    with pytest.raises(ConfigError, match="no stage 'paint'"):
        run(config, tmp_path, only="paint")


def test_status_counts_rows(finished: Path) -> None:
    state = pipeline.status(finished)
    assert state["finished"]
    for stage in state["stages"]:
        assert stage["done"] == stage["planned"] == ddb.table(finished, stage["stage"]).num_rows
        assert (stage["left"], stage["errors"], stage["others"]) == (0, 0, [])


def test_what_was_made_from_earlier_results_is_named(copy: Path, birds: Path, tmp_path: Path) -> None:
    """Other settings of retraining, stopped before the end: the folder's own metrics.json is that of the run before."""
    out = copy
    assert pipeline.status(out)["addresses"] == {"classifier": True, "balanced": True, "metrics.json": True}
    run(miniature.configuration(birds, retrain={"lr": 0.002}), out, until="retrain")
    state = pipeline.status(out)
    assert state["addresses"] == {"classifier": False, "balanced": True, "metrics.json": False}
    assert "made from earlier results: classifier, metrics.json; `ddb run` writes them anew" in in_words(state)
    with pytest.raises(DDBError, match="evaluate is not started"):
        export_run(out, tmp_path / "exported")


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


def test_a_run_folder_belongs_to_one_name_and_one_data_set(copy: Path, birds: Path, tmp_path: Path) -> None:
    """Data may move, or change where it lies; other data under another path would overwrite the run."""
    other = Path(shutil.copytree(birds, tmp_path / "other"))
    masks = {"masks": str(birds / "masks")}
    before = miniature.tree(copy)
    moved = pipeline.dry_run(miniature.configuration(other, segment=masks), copy)
    assert moved[1:] == [f"kept: {', '.join(pipeline.STAGES)}"]
    image = next(path for path in sorted(other.rglob("*.*")) if path.suffix in (".png", ".jpg"))
    shutil.copy(sorted(image.parent.iterdir())[1], image)
    for config, words in (
        (miniature.configuration(other, segment=masks), f"belongs to the data in {birds}, and {other} is another"),
        (miniature.configuration(birds, name="mine"), "belongs to the run 'miniature', not to 'mine'"),
    ):
        for act in (lambda config: run(config, copy), lambda config: pipeline.dry_run(config, copy)):
            with pytest.raises(ConfigError, match=words):
                act(config)
    assert miniature.tree(copy) == before


def test_the_default_folder_is_named_for_the_run_and_the_users_data(tmp_path: Path) -> None:
    (tmp_path / "v1.5 dogs").mkdir()
    (tmp_path / "cats.csv").touch()
    data = [("folder", "v1.5 dogs"), ("table", "cats.csv"), ("pocket", "")]
    found = [
        default_folder(RunConfig(name="photos", data=DataConfig(source=source, root=root and str(tmp_path / root))))
        for source, root in data
    ]
    assert found == [Path("runs/photos-v1.5 dogs"), Path("runs/photos-cats"), Path("runs/photos")]


def test_public_names_resolve() -> None:
    import ddb

    assert all(getattr(ddb, name) for name in ddb.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        ddb.nothing  # noqa: B018
