"""Toy stages on two Ray workers, against the same stages in one process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray_toys
import toy_stages as toy

from ddb.engine.cluster.connection import ENGINES, Room, Wanted, check_engine, connected, room
from ddb.engine.cluster.ray_pool import RayPool, ray_engine
from ddb.engine.runner import Policy
from ddb.errors import ConfigError, DDBError, ModelError, StageFailed
from ray_cluster import two_cpus


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with two_cpus():
        yield


def run(root: Path, fault: str = "", stuck_after: float = 600.0) -> toy.Workspace:
    """The toy stages, `numbers` with 30 rows in batches of four, by two workers."""
    recipe = partial(ray_toys.opener, root, fault)
    with connected(), ray_engine(recipe, Room(2, 1, 0), stuck_after) as engine:
        stages = (toy.numbers(count=ray_toys.COUNT), toy.squares(), toy.total())
        return toy.run(root, *stages, engine=engine, policy=Policy(max_error_rate=0.5))


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("toys") / "alone"
    toy.run(root, toy.numbers(count=ray_toys.COUNT), toy.squares(), toy.total())
    return toy.tree(root)


def test_the_bytes_are_those_of_one_process(tmp_path: Path, wanted: dict[str, str]) -> None:
    run(tmp_path / "run")
    assert toy.tree(tmp_path / "run") == wanted
    assert sorted(toy.computed(tmp_path / "run"), key=int) == [str(n) for n in range(ray_toys.COUNT)]


@pytest.mark.parametrize("fault", ["killed once", "hangs once"])
def test_a_batch_whose_worker_is_killed_or_hangs_is_computed_elsewhere(
    tmp_path: Path, wanted: dict[str, str], fault: str
) -> None:
    run(tmp_path / "run", fault, stuck_after=2.0)
    assert toy.tree(tmp_path / "run") == wanted
    twice = {name for name in toy.computed(tmp_path / "run") if toy.computed(tmp_path / "run").count(name) > 1}
    assert "13" in twice
    if fault == "killed once":
        assert len(twice) <= 8  # the batch in flight, and an answer that was lost with the worker


def test_a_row_that_kills_its_worker_becomes_one_error_row(tmp_path: Path) -> None:
    workspace = run(tmp_path / "run", "killed")
    rows = workspace.table("numbers", ["id", "status", "error", "value", "slot"]).to_pylist()
    assert [row["id"] for row in rows] == [str(n) for n in range(ray_toys.COUNT)]
    failed = [row for row in rows if row["status"] == "error"]
    assert [row["id"] for row in failed] == ["13"]
    assert "2 workers were lost while they computed this row" in failed[0]["error"]
    assert "its process was killed" in failed[0]["error"]
    assert [(row["value"], row["slot"]) for row in rows if row["id"] in ("12", "14")] == [(12, 0), (14, 2)]
    assert "StageFailed" in (tmp_path / "run" / "errors.log").read_text()
    toy.run(tmp_path / "run", toy.numbers(count=ray_toys.COUNT))  # goes on in one process, and mends it
    assert "error" not in workspace.table("numbers", ["status"])["status"].to_pylist()


def test_errors_of_workers_are_raised_here(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="^the weights are of another model$"):
        run(tmp_path / "model", "model")
    with pytest.raises(DDBError, match="no room left on the disk"):
        run(tmp_path / "full", "disk full")
    with pytest.raises(StageFailed) as caught:
        run(tmp_path / "open", "open")
    assert str(caught.value) == f"worker on {socket.gethostname()}: RuntimeError: a kernel of another library"
    assert "in opener" in (tmp_path / "open" / "errors.log").read_text()


def test_what_cannot_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=f"worker on .*{tmp_path}/elsewhere: No such file.*share"):
        run(tmp_path / "run")


def test_room() -> None:
    assert room(Wanted("cpu", "auto", 1, 0)) == Room(2, 1, 0)
    assert room(Wanted("cpu", "auto", 2, 0)) == Room(1, 2, 0)
    assert room(Wanted("cpu", "auto", 16, 0)) == Room(1, 2, 0)
    assert room(Wanted("cpu", "cpu", 2, 2)) == Room(2, 1, 0)
    assert room(Wanted("cpu", "cpu", 1, 1)) == Room(1, 1, 0)
    assert room(Wanted("cpu", "cpu", 2, 2)).in_words() == "2 workers with 1 thread each"
    with pytest.raises(ConfigError, match=r"ray.workers 3: the cluster has 2 CPUs, which is room for 2\."):
        room(Wanted("cpu", "cpu", 1, 3))
    with pytest.raises(ConfigError, match=r"ray.workers 1: the cluster has 0 GPUs, which is room for 0\."):
        room(Wanted("cuda", "auto", 1, 0))


def test_a_pool_stops_what_is_gone(tmp_path: Path) -> None:
    pool = RayPool(partial(ray_toys.opener, tmp_path), Room(2, 1, 0))
    worker = pool.start()
    assert pool.workers() == [worker]
    pool.stop(worker)
    pool.stop(worker)
    assert pool.workers() == []


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        for wrong, reason in ((address, "Connection refused"), ("nonsense", "Invalid address")):
            monkeypatch.setenv("RAY_ADDRESS", wrong)
            with pytest.raises(ConfigError, match=f"no Ray cluster at {wrong} .*{reason}"), connected():
                pass


def test_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENGINES:
        check_engine(name)
    with pytest.raises(ConfigError, match="--engine slurm: choose local or ray"):
        check_engine("slurm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_engine("local")
    with pytest.raises(ConfigError, match=r"Ray.*python -m pip install 'diffusion-driven-balancing\[ray\]'"):
        check_engine("ray")
