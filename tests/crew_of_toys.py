"""The toy stages of tests/engine in several processes: python crew_of_toys.py ROOT [open | model], under a launcher.

`open`: the worker of process 1 cannot be opened; `model`: there, opening raises a DDBError. All processes open every
stage, and the first one computes all rows: any other that computes one raises."""

from __future__ import annotations

import sys
from pathlib import Path

import toy_stages as toy

from ddb import crew
from ddb.engine import journal
from ddb.engine.runner import Setup, run_stage
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, ModelError
from ddb.learn import processes
from ddb.stage import Batch, Fixed, Stage, Worker


def set_up(fault: str) -> Setup:
    def stop(batch: Batch) -> None:
        assert processes.leads(), "the others only open stages"

    how = toy.setup([toy.numbers(before=stop)], engine=crew.engine)
    opened = how.open_worker

    def open_worker(stage: Stage, workspace: Workspace, fixed: Fixed) -> Worker:
        if fault == "open" and processes.rank() == 1:
            raise RuntimeError("a kernel of another library")
        if fault == "model" and processes.rank() == 1:
            raise ModelError(f"process {processes.rank()} has no memory left")
        return opened(stage, workspace, fixed)

    return Setup(**{**vars(how), "open_worker": open_worker})


def main(root: Path, fault: str) -> None:
    if not crew.join("cpu"):
        crew.follow(lambda: (Workspace(root, toy.NAMES), set_up(fault)))
        return
    with journal.locked(root), crew.led():
        workspace, how = Workspace(root, toy.NAMES), set_up(fault)
        for name in toy.NAMES:
            run_stage(workspace, name, how)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
    except DDBError as error:
        print(f"told: {error}", file=sys.stderr)
        sys.exit(1)
