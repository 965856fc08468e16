"""Several processes: what they leave behind when they part."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
