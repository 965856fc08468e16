"""Runs of the miniature on two Ray workers, against the same runs in one process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import toy_stages as toy

import miniature
from ddb.cluster import _check_environment
from ddb.config import RunConfig
from ddb.config.load import config_text
from ddb.engine import journal
from ddb.engine.workspace import Workspace
from ddb.errors import ModelError, StageFailed
from launching import TORCHRUN, launch
from ray_cluster import search_path, two_cpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mini.yaml`, and `alone`: its run in one process."""
    folder = tmp_path_factory.mktemp("cluster")
    config = miniature.configuration(miniature.draw(folder / "birds"))
    (folder / "mini.yaml").write_text(config_text(config))
    miniature.run(config, folder / "alone")
    return folder


@pytest.fixture(scope="module")
def painted(place: Path) -> RunConfig:
    """The settings of `painted`, a run in one process whose images are painted with learned tokens."""
    config = miniature.configuration(place / "birds", **miniature.DIFFUSION)
    miniature.run(config, place / "painted")
    return config


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with two_cpus():
        yield


def start(place: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """`ddb run mini.yaml --out OUT` in another process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search_path()}
    command = [sys.executable, "-m", "ddb.cli", "run", str(place / "mini.yaml"), "--out", str(out), *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(stage: Path, process: subprocess.Popen[str]) -> None:
    """Until the process has begun a stage."""
    while not list(stage.glob("*/plan.json")):
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.01)


def no_row_is_there_twice(root: Path) -> None:
    """Of all rows that the journal says were written, each was planned once: a part holds none of an earlier one."""
    written: Counter[str] = Counter()
    for event in journal.events(root):
        if event["event"] == "part":
            written[event["result"]] += event["rows"]
    workspace = Workspace.at(root)
    for stage in workspace.stages:
        folder = workspace.folder(stage)
        assert written[folder.name] == workspace.count(folder / "part-00000.parquet"), stage


def test_all_files_are_those_of_one_process(place: Path, painted: RunConfig, cluster: None) -> None:
    miniature.run(painted, place / "shared", engine="ray")
    assert miniature.tree(place / "shared") == miniature.tree(place / "painted")
    no_row_is_there_twice(place / "shared")


def test_a_worker_that_is_killed_costs_no_row(
    place: Path, painted: RunConfig, cluster: None, caplog: pytest.LogCaptureFixture
) -> None:
    def strike() -> None:
        while not list((place / "struck").glob("4-inpaint/*/plan.json")):
            time.sleep(0.01)
        family = psutil.Process().children(recursive=True)
        next(one for one in family if "RowActor" in " ".join(one.cmdline())).kill()

    threading.Thread(target=strike, daemon=True).start()
    miniature.run(painted, place / "struck", engine="ray")
    assert [text for text in caplog.messages if "a worker was lost (its process was killed" in text]
    assert miniature.tree(place / "struck") == miniature.tree(place / "painted")
    no_row_is_there_twice(place / "struck")


def test_an_error_in_a_worker_is_raised_by_the_run(place: Path, painted: RunConfig, cluster: None) -> None:
    shutil.copytree(place / "painted", place / "spoilt", ignore=shutil.ignore_patterns("[4-8]-*"))
    for token in (place / "spoilt").glob("2-invert/*/token-*.safetensors"):
        token.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="missing or damaged") as caught:
        miniature.run(painted, place / "spoilt", engine="ray")
    assert "\n" not in str(caught.value)


def test_a_finished_run_asks_for_no_cluster(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "localhost:1")
    miniature.run(miniature.configuration(place / "birds"), place / "alone", engine="ray")


WORKERS = ("--engine", "ray", "--workers", "2")


@pytest.mark.parametrize(("first", "second"), [(WORKERS, ()), ((), WORKERS)], ids=["ray first", "local first"])
def test_a_driver_that_is_killed_is_resumed_by_the_other_engine(
    place: Path, tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    out = tmp_path / "killed"
    process = start(place, out, *first)
    wait_for(out / "4-inpaint", process)
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [one for one in family if "RowActor" in " ".join(one.cmdline())]
    assert len(workers) == (2 if first else 0)
    process.kill()
    process.communicate(timeout=60)
    assert not (out / "report.html").exists()
    assert not psutil.wait_procs(workers, timeout=60)[1]
    done = start(place, out, *second)
    _, said = done.communicate()
    assert done.returncode == 0, said[-3000:]
    assert ("ray: 2 workers with 1 thread each" in said) == bool(second)
    found, wanted = miniature.tree(out), miniature.tree(place / "alone")
    assert found.pop("config.yaml") != wanted.pop("config.yaml") or not second  # it says how many workers there were
    assert found == wanted
    no_row_is_there_twice(out)


def test_stopped_by_a_signal(place: Path, tmp_path: Path) -> None:
    process = start(place, tmp_path / "stopped", *WORKERS)
    wait_for(tmp_path / "stopped" / "2-invert", process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143
    assert said.splitlines()[-1].startswith("ddb: stopped by SIGTERM")
    assert "Traceback" not in said
    assert not psutil.wait_procs(family, timeout=60)[1]


def test_torchrun_trains_and_ray_computes_the_rows(place: Path) -> None:
    out = place / "both"
    done = launch("-m", "ddb.cli", "run", str(place / "mini.yaml"), "--out", str(out), "--engine", "ray", by=TORCHRUN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("ray: 2 workers with 1 thread each") == 1
    assert done.stderr.count("evaluate: finished") == 1
    assert (out / "report.html").is_file()


def test_a_worker_of_another_kind_is_refused(place: Path) -> None:
    workspace, setup = Workspace.at(place / "alone"), toy.setup([])
    began = workspace.plan("inpaint")
    assert began is not None
    here = replace(setup, fixed=toy.Fixed(**began["fixed"]))
    _check_environment("inpaint", workspace, here)
    there = replace(here, fixed=replace(here.fixed, device="cuda", dtype="bfloat16"))
    with pytest.raises(StageFailed, match=r"worker on .* has device cuda, not cpu, dtype bfloat16, not float32\. Use"):
        _check_environment("inpaint", workspace, there)
    allowed = replace(there, policy=toy.Policy(resume_elsewhere="continue"))
    _check_environment("inpaint", workspace, allowed)
