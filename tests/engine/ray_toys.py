"""The toy stages as a Ray worker opens them, with faults that happen there."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import toy_stages as toy

from ddb.engine.workspace import Workspace
from ddb.errors import ModelError
from ddb.stage import Batch, Fixed, Worker

COUNT = 30


def opener(root: Path, fault: str = "") -> Callable[[str], Worker]:
    """What opens a toy stage in `root`. `fault`: what happens in the worker, see `strike`; or "open"."""
    if fault == "open":
        raise RuntimeError("a kernel of another library")

    def before(batch: Batch) -> None:
        with open(root.parent / f"{root.name}.computed", "a") as log:
            log.write(" ".join(name for name in batch if name is not None) + "\n")
        if fault and "13" in batch:
            strike(fault, root)

    def open_stage(name: str) -> Worker:
        workspace = Workspace(root, toy.NAMES)
        setup = toy.setup([toy.numbers(count=COUNT, before=before)])
        plan = workspace.plan(name)
        assert plan is not None
        stage = next(stage for stage in setup.stages if stage.name == name)
        return setup.open_worker(stage, workspace, Fixed(**plan["fixed"]))

    return open_stage


def strike(fault: str, root: Path) -> None:
    """`killed`: by row 13, always; `killed once`, `hangs once`: the first time alone."""
    once = root.parent / f"{root.name}.struck"
    first = not once.exists()
    once.touch()
    if fault == "killed" or (fault == "killed once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hangs once" and first:
        time.sleep(3600)
    if fault == "model":
        raise ModelError("the weights are of another model")
    if fault == "disk full":
        raise OSError(errno.ENOSPC, "No space left on device")
