"""A run in two processes that train together, started by torchrun or by accelerate, against the same run in one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import toy_stages as toy

from ddb import pipeline
from ddb.config.load import config_text
from ddb.engine import journal
from ddb.engine.workspace import Workspace
from launching import ACCELERATE, TORCHRUN, launch
from miniature import configuration, draw

pytestmark = pytest.mark.slow
LIKE_ALONE = ("invert", "segment", "inpaint", "score", "prune")
TOYS = str(Path(__file__).with_name("crew_of_toys.py"))


def test_toy_stages_end_in_the_same_bytes(tmp_path: Path) -> None:
    done = launch(TOYS, str(tmp_path / "two"), seconds=120)
    assert done.returncode == 0, done.stderr[-3000:]
    toy.run(tmp_path / "alone", toy.numbers(), toy.squares(), toy.total())
    assert toy.tree(tmp_path / "two") == toy.tree(tmp_path / "alone")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("open", "process 1: RuntimeError: a kernel of another library"),
        ("model", "process 1 has no memory left"),
    ],
)
def test_what_stops_a_helper_reaches_the_leader(tmp_path: Path, fault: str, said: str) -> None:
    done = launch(TOYS, str(tmp_path / "run"), fault, seconds=120)
    assert done.returncode != 0
    assert done.stderr.count(f"told: {said}") == 1
    if fault == "open":
        log = (tmp_path / "run" / "errors.log").read_text()
        assert "stage numbers\nTraceback" in log
        assert "in open_worker" in log


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mini.yaml`, and `alone`: the run of one process. In float32 on every machine: in bfloat16 the sums of two
    processes differ by more than their order."""
    folder = tmp_path_factory.mktemp("crew")
    config = configuration(draw(folder / "birds")).model_copy(update={"precision": "fp32"})
    (folder / "mini.yaml").write_text(config_text(config))
    pipeline.run(config, folder / "alone")
    return folder


def run_by_two(place: Path, out: str, by: tuple[str, ...]) -> str:
    """Run it into `place/out` with two processes; what they print to stderr."""
    done = launch("-m", "ddb.cli", "run", str(place / "mini.yaml"), "--out", str(place / out), by=by)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_the_leader_computes_the_rows(place: Path) -> None:
    """From the same classifier on, the tables of two processes are those of one, byte by byte."""
    shutil.copytree(place / "alone", place / "two", ignore=shutil.ignore_patterns("[2-8]-*", "balanced", "*.json*"))
    first = Workspace.at(place / "alone").folder("erm").relative_to(place / "alone")
    shutil.copytree(place / "alone" / first, place / "two" / first, dirs_exist_ok=True)
    said = run_by_two(place, "two", TORCHRUN)
    assert "erm: 84 rows, done before" in said
    assert said.count("segment: finished") == 1  # only the leader reports
    alone, two = Workspace.at(place / "alone"), Workspace.at(place / "two")
    for stage in LIKE_ALONE:
        assert toy.part(two, stage).read_bytes() == toy.part(alone, stage).read_bytes(), stage
    finished = [event["stage"] for event in journal.events(place / "two") if event["event"] == "finished"]
    assert finished.count("inpaint") == 2  # two rounds
    assert (place / "two" / "report.html").is_file()
    assert sorted(path.name for path in (place / "two").iterdir()) == sorted(
        path.name for path in (place / "alone").iterdir()
    )


def test_training_in_two_processes_gives_the_same_classifier(place: Path) -> None:
    run_by_two(place, "fresh", ACCELERATE)
    alone, fresh = (Workspace.at(place / name).table("erm").to_pydict() for name in ("alone", "fresh"))
    assert alone["id"] == fresh["id"]
    np.testing.assert_allclose(fresh["loss"], alone["loss"], atol=1e-4)
    assert all(pipeline.status(place / "fresh")["stages"][n]["state"] == "finished" for n in range(8))


def test_an_error_is_said_once_and_nothing_hangs(place: Path) -> None:
    done = launch(
        "-m", "ddb.cli", "run", str(place / "mini.yaml"), "--out", str(place / "wrong"),
        "--set", "erm.lr=1e30", seconds=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("ddb: The loss is") == 1
    assert done.stderr.count("Lower lr") == 1
