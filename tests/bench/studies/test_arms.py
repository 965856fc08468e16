"""Studies of ddb on the miniature: what arms share, what their counts say, the pool of counterfactuals, the oracle."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from bench_runs import config, options, records, run
from ddb.backends import registry
from ddb.bench.fits.trial import open_trial
from ddb.bench.show.results import Results
from ddb.bench.show.tables import tables
from ddb.bench.studies import counts, oracle
from ddb.config import RunConfig
from ddb.context import Models
from ddb.engine.progress import Lines
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError
from ddb.learn.device import Runtime
from ddb.pipeline import STAGES, build_stages
from ddb.stage import Batch, Fixed, Row, Tables, Worker

ASKED = options(["erm"], seeds=1, tables=("2", "counts"))


def studied(birds: Path) -> RunConfig:
    return config(birds, prune={"psi": "literal", "rho": "mean", "max_rounds": 1}, retrain={"epochs": 1})


@pytest.fixture(scope="module")
def bench(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("studies") / "out"
    return out, run(studied(birds), ASKED, out)


def test_arms_share_the_candidates_and_keep_what_their_heads_leave(bench: tuple[Path, Results]) -> None:
    out, results = bench
    arms = {arm.name: arm.total for arm in results.studies["pruning"]}
    table = Workspace(out / "seed-0/run", STAGES).table("inpaint")
    assert {arm.generated for arm in arms.values()} == {table.num_rows}
    assert arms["none"].kept == table.num_rows
    assert arms["psi"].pruned_rho == arms["rho"].pruned_psi == arms["none"].pruned == 0
    assert arms["both"].pruned_psi == arms["psi"].pruned_psi > 0
    assert arms["both"].pruned_rho == arms["rho"].pruned_rho > 0
    verdicts = Workspace(out / "seed-0/run", STAGES).table("prune")["reason"].to_pylist()  # the preset's: both
    assert arms["both"].pruned == sum(reason != "kept" for reason in verdicts)
    assert arms["both"].kept == verdicts.count("kept")
    for name in ("none", "psi", "rho"):
        events = (out / f"seed-0/variants/pruning-{name}/events.jsonl").read_text()
        assert '"stage": "retrain"' in events
        assert '"stage": "inpaint"' not in events


def test_amounts_are_parts_of_one_pool(bench: tuple[Path, Results]) -> None:
    out, results = bench
    pool = Workspace(out / "seed-0/variants/counts-pool", STAGES).table("inpaint")
    rows = {"0->1": 13, "1->0": 13}  # the smaller class has 13 training images
    for arm in results.studies["counts"]:
        amount = float(arm.name)
        assert arm.total.generated == sum(round(amount * size) for size in rows.values())
        chosen = counts.part(pool, {(0, 1): 13, (1, 0): 13}, amount)
        assert len(chosen) == arm.total.generated
        if 0 < amount <= 1:
            assert {name.rpartition("#")[2] for name in chosen} == {"0"}
    parts = [counts.part(pool, {(0, 1): 13, (1, 0): 13}, amount) for amount in counts.AMOUNTS]
    assert all(small <= large for small, large in zip(parts, parts[1:], strict=False))
    seeds = pool["seed"].to_pylist()
    assert len(set(seeds)) == len(seeds) == 4 * 26


def test_what_the_run_has_painted_is_taken_from_there(bench: tuple[Path, Results], birds: Path, tmp_path: Path) -> None:
    out, _ = bench
    trial = open_trial(studied(birds), ASKED, 0, out / "seed-0", None, Lines(io.StringIO()))
    asked: list[str] = []

    def opened(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        def paint(batch: Batch) -> list[Row]:
            asked.extend(name for name in batch if name is not None)
            return [{"id": name} for name in batch if name is not None]

        return paint

    stages = {stage.name: stage for stage in build_stages(trial.config, trial.dataset, trial.workspace)}
    stage = counts.pool_stage(replace(stages["inpaint"], open=opened), trial)
    ids = stage.plan(trial.workspace)
    rows = stage.open(Models(), trial.workspace, tmp_path, Fixed(8, "cpu", "float32", 1, "test"))(ids)
    part = pq.read_table(trial.workspace.folder("inpaint") / "part-00000.parquet")
    run_rows = {row["id"]: row for row in part.to_pylist()}
    assert set(run_rows) < set(ids)
    assert asked == [name for name in ids if name not in run_rows]
    assert rows == [run_rows.get(name, {"id": name}) for name in ids]


def test_no_counterfactuals_is_more_epochs_of_erm(bench: tuple[Path, Results]) -> None:
    out, results = bench
    arm = results.studies["counts"][0]
    assert (arm.name, arm.total.generated, arm.total.kept) == ("0", 0, 0)
    verdicts = Workspace(out / "seed-0/variants/counts-0", STAGES).table("prune")
    assert not pc.any(verdicts["keep"]).as_py()


def test_tables_of_studies_say_that_there_is_no_oracle(bench: tuple[Path, Results]) -> None:
    found = {table.key: table for table in tables(bench[1])}
    assert set(found) == {"pruning", "counts"}
    assert "there is no oracle for this data set" in " ".join(found["pruning"].notes)
    assert found["pruning"].rows[-1][5:7] == ("–", "–")
    assert "Paper, full-size set: 91.3 without pruning, 93.0 with both tests." in found["pruning"].notes


def test_records_of_arms_are_found_again(bench: tuple[Path, Results], birds: Path) -> None:
    out, results = bench
    before = {path: path.read_bytes() for path in out.glob("seed-0/scores/*")}
    own = config(birds, prune={"psi": "literal", "rho": "mean", "max_rounds": 1}, retrain={"epochs": 1})
    assert run(own, options(["erm"], seeds=1, tables=("2", "counts")), out) == results
    assert {path: path.read_bytes() for path in out.glob("seed-0/scores/*")} == before
    assert len(records(out, "scores")) == 4 + len(counts.AMOUNTS)
    fits = [line for line in (out / "events.jsonl").read_text().splitlines() if json.loads(line)["event"] == "fit"]
    assert len(fits) == 4 + len(counts.AMOUNTS)


def test_arms_of_other_masks_are_not_found(
    bench: tuple[Path, Results], birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings are the same, but the files that they name changed."""
    out = Path(shutil.copytree(bench[0], tmp_path / "out", symlinks=True))
    before = {path.name for path in out.glob("seed-0/scores/pruning-*")}
    monkeypatch.setattr(registry, "masks_identity", lambda *_: "given_masks@2")
    own = config(birds, prune={"psi": "literal", "rho": "mean", "max_rounds": 1}, retrain={"epochs": 1})
    run(own, options(["erm"], seeds=1, tables=("2",)), out)
    after = {path.name for path in out.glob("seed-0/scores/pruning-*")}
    assert before < after
    assert len(after) == 2 * len(before) == 8


def test_renders_for_the_oracle_are_balanced() -> None:
    for world, places in (("waterbirds", 2), ("celeba", 2)):
        images, answers = oracle.balanced_renders(world, 6 * places, 0)
        assert images.shape == (6 * places, 64, 64, 3)
        assert np.bincount(answers).tolist() == [2 * places] * 3


def test_only_built_in_worlds_have_an_oracle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Only the built-in worlds have an oracle"):
        oracle.open_oracle("waterbirds2", tmp_path, Runtime(torch.device("cpu"), torch.float32))
    assert oracle.accuracy(tmp_path) is None


@pytest.mark.slow
def test_an_oracle_learns_what_renders_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training already tells the classes apart, and the oracle is made once."""
    runtime = Runtime(torch.device("cpu"), torch.float32)
    monkeypatch.setattr(oracle, "IMAGES", 480)
    monkeypatch.setattr(oracle, "UNSEEN", 120)
    monkeypatch.setattr(oracle, "BUDGET", oracle.BUDGET.model_copy(update={"epochs": 2}))
    found = oracle.open_oracle("waterbirds", tmp_path / "oracle", runtime)
    right = oracle.accuracy(tmp_path / "oracle")
    assert right is not None
    assert right > 0.5  # chance: 0.33
    images, _ = oracle.balanced_renders("waterbirds", 6, 5)
    again = oracle.open_oracle("waterbirds", tmp_path / "oracle", runtime)
    assert (oracle.answers_of(again, images, runtime) == oracle.answers_of(found, images, runtime)).all()
    assert oracle.answers_of(found, images[:0], runtime).shape == (0,)
