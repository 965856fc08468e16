"""Several processes: the end of the process group."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ddb.errors import ConfigError
from ddb.learn import processes
from launching import launch

PARTING = """
import torch
from pathlib import Path
from ddb.learn import processes

def threads():
    names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return sum("gloo" in name for name in names)

processes.join("cpu")
assert processes.gathered(processes.rank()) == ([0, 1] if processes.leads() else [])
assert processes.total(torch.ones(2)).tolist() == [2, 2]
before = threads()
processes.leave()
assert processes.count() == 1
print(f"gloo threads: {before > 0} before, {threads()} after")
processes.leave()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="threads are read from /proc")
def test_no_thread_is_left_when_processes_part(tmp_path: Path) -> None:
    """One that takes Python's lock while the interpreter goes would end the process with SIGABRT."""
    script = tmp_path / "parting.py"
    script.write_text(PARTING)
    done = launch(str(script))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("gloo threads: True before, 0 after") == 2


LAUNCHED = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def launched(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_whole_launch_is_one_and_none_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, **LAUNCHED)
    assert processes.started_with_others()
    for alone in ({}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": ""}, {"RANK": "0", "MASTER_ADDR": "localhost"}):
        launched(monkeypatch, **alone)
        assert not processes.started_with_others()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 but not RANK, MASTER_ADDR"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE=2 but not MASTER_ADDR"),
        ({**LAUNCHED, "WORLD_SIZE": "two"}, "WORLD_SIZE=two with WORLD_SIZE='two'"),
        ({**LAUNCHED, "RANK": "-1"}, "WORLD_SIZE=2 with RANK='-1'"),
        ({**LAUNCHED, "RANK": "2"}, "WORLD_SIZE=2 with RANK=2"),
    ],
    ids=["size", "no address", "no number", "negative", "too high"],
)
def test_what_a_launch_left_over_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    launched(monkeypatch, **variables)
    for call in (processes.started_with_others, lambda: processes.join("cpu")):
        with pytest.raises(ConfigError) as caught:
            call()
        assert words in str(caught.value)
        assert "`unset WORLD_SIZE`" in str(caught.value)


def test_others_that_cannot_be_met_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("The server socket has failed to listen\nmore")

    launched(monkeypatch, **LAUNCHED)
    monkeypatch.setattr("accelerate.PartialState", fail)
    with pytest.raises(ConfigError, match=r"cannot meet the other 1 processes at localhost:29500 \(The server socket"):
        processes.join("cpu")
