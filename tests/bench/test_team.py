"""Several processes give the results of one, report their progress, and all end."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

import ddb
import miniature
from bench_runs import config, options, run, tree
from ddb.bench.folder import Folder
from ddb.bench.parts import Part, PartRunner
from ddb.engine.progress import Lines
from ddb.errors import DDBError, StageFailed
from ray_cluster import two_cpus


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The processes of a team have a share of the threads; with one there is nothing to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_processes_end_like_one(birds: Path, tmp_path: Path, one_thread: None) -> None:
    own, asked, log = config(birds), {"methods": ("erm", "afr", "ddb"), "tables": ("1", "2")}, io.StringIO()
    alone = run(own, options(**asked), tmp_path / "alone")
    assert run(own, options(**asked, processes=2), tmp_path / "team", log) == alone
    assert tree(tmp_path / "team") == tree(tmp_path / "alone")
    said = log.getvalue().splitlines()
    for part in ("seed 0: run", "seed 1: run", "seed 0: afr", "seed 1: ddb", "seed 1: pruning"):
        assert any(line.startswith(part) for line in said), part
    assert not [line for line in said if line.count("seed") > 1]
    assert not multiprocessing.active_children()


def test_a_part_comes_after_what_it_needs(birds: Path, tmp_path: Path) -> None:
    asked = options(["erm", "ddb"], tables=("1", "2", "counts"))
    runner = PartRunner(config(birds), asked, Folder(tmp_path), Lines(io.StringIO()))
    parts = runner.parts()
    assert [part.name for part in parts if part.seed == 1] == ["run", "erm", "ddb", "pruning", "counts"]
    assert runner.title(Part(1, "erm")) == f"seed {config(birds).seed + 1}: erm"
    for position, part in enumerate(parts):
        assert runner.needs(part) & set(parts) <= set(parts[:position])
    assert runner.needs(Part(1, "erm")) == {Part(1, "run"), Part(0, "erm")}  # whose search chose
    assert {Part(1, "ddb"), Part(1, "pruning")} <= runner.needs(Part(1, "counts"))  # one run folder


def test_an_error_of_a_part_is_raised_as_it_is(birds: Path, tmp_path: Path) -> None:
    own = config(birds, segment={"masks": str(tmp_path / "nowhere")})
    with pytest.raises(DDBError, match="nowhere") as alone:
        run(own, options(["ddb"]), tmp_path / "alone")
    with pytest.raises(type(alone.value), match="nowhere"):
        run(own, options(["ddb"], processes=2), tmp_path / "team")
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_named(birds: Path, tmp_path: Path) -> None:
    def strike() -> None:
        while not list(tmp_path.glob("seed-*/run/1-erm")):
            time.sleep(0.01)
        for child in multiprocessing.active_children():
            child.kill()

    threading.Thread(target=strike, daemon=True).start()
    with pytest.raises(StageFailed, match=r"seed \d: run: its process was killed \(signal 9\); out of memory\? Fewer"):
        run(config(birds), options(["ddb"], processes=2), tmp_path)
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with two_cpus():
        yield


@pytest.mark.slow
def test_two_actors_end_like_one_process_though_one_is_killed(
    birds: Path, tmp_path: Path, one_thread: None, cluster: None
) -> None:
    def strike() -> None:
        while not list(tmp_path.glob("actors/seed-*/run/1-erm")):
            time.sleep(0.01)
        family = psutil.Process().children(recursive=True)
        next(one for one in family if "PartActor" in " ".join(one.cmdline())).kill()

    own, asked, log = config(birds), {"methods": ("erm", "ddb"), "tables": ("1",)}, io.StringIO()
    alone = run(own, options(**asked), tmp_path / "alone")
    threading.Thread(target=strike, daemon=True).start()
    assert run(own, options(**asked, engine="ray", processes=0), tmp_path / "actors", log) == alone
    assert tree(tmp_path / "actors") == tree(tmp_path / "alone")
    said = log.getvalue()
    assert "ray: 2 workers with 1 thread each" in said
    assert "its worker was lost (its process was killed" in said
    assert "seed 1: ddb" in said


@pytest.mark.slow
def test_an_error_of_a_part_comes_from_its_actor_as_it_is(birds: Path, tmp_path: Path, cluster: None) -> None:
    own = config(birds, segment={"masks": str(tmp_path / "nowhere")})
    with pytest.raises(DDBError, match="nowhere"):
        run(own, options(["ddb"], engine="ray", processes=0), tmp_path / "actors")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_team_leaves_nobody_behind(birds: Path, tmp_path: Path, number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": f"{Path(ddb.__file__).parents[1]}:{Path(miniature.__file__).parent}"}
    code = (
        "import sys, pathlib, bench_runs\n"
        "if __name__ == '__main__':\n"
        "    birds, out = map(pathlib.Path, sys.argv[1:])\n"
        "    bench_runs.run(bench_runs.config(birds), bench_runs.options(processes=2), out)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(script), str(birds), str(out)], env=environment, stderr=subprocess.PIPE, text=True
    )
    while not list(out.glob("seed-0/fits/*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    team = psutil.Process(process.pid).children()
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == (1 if number == signal.SIGTERM else -number)
    assert ("stopped by SIGTERM" in said) == (number == signal.SIGTERM)
    _, alive = psutil.wait_procs(team, timeout=15)
    assert len(team) >= 2
    assert not alive
    run(config(birds), options(), out)  # goes on
