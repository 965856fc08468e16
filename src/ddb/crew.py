"""One run in several processes, which train together: the leader runs the pipeline as one process does.

    torchrun --nproc-per-node 2 -m ddb.cli run ...        accelerate launch -m ddb.cli run ...

Training happens while a stage opens, so the leader asks the others to open that stage at the same time
(`ddb.learn.training.parallel`). The leader computes all rows and writes all files; to share the rows of other stages
there are workers (`ddb.cluster`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from ddb.engine import local
from ddb.engine.cluster.answer import to_send
from ddb.engine.local import Engine
from ddb.engine.runner import Setup
from ddb.engine.workspace import Workspace
from ddb.errors import StageFailed
from ddb.learn import processes
from ddb.stage import Batch, Fixed, Row, Worker

T = TypeVar("T")


class _State:
    """`busy`: True during a collective call, and for good after one failed: no request can be sent then."""

    busy: bool = False


_state = _State()


def join(device: str) -> bool:
    """Initialise the process group, if there are other processes. True in the leader."""
    processes.join(device)
    return processes.leads()


def engine(stage: str) -> Engine:
    """The engine that opens a stage in all processes together, and computes its batches in this one."""
    if processes.count() == 1:
        return local.execute

    def execute(open_worker: Callable[[], Worker], batches: Iterable[Batch]) -> Iterator[list[Row]]:
        return local.execute(lambda: _opened_together(stage, open_worker), batches)

    return execute


def _opened_together(stage: str, open_worker: Callable[[], Worker]) -> Worker:
    with _exchange():
        processes.shared(stage)
        worker, error = None, _agreed(None)
        if error is None:
            worker, own = _tried(open_worker)
            error = _agreed(own)
    if error is not None or worker is None:
        raise error or StageFailed(f"stage {stage} could not be opened")
    return worker


@contextmanager
def led() -> Iterator[None]:
    """Context of the leader's run: on exit the other processes are told to end, unless the same signal stopped them."""
    _state.busy = False
    try:
        yield
    except KeyboardInterrupt:
        _state.busy = True
        raise
    finally:
        if processes.count() > 1 and not _state.busy:
            processes.shared("")


def follow(open_run: Callable[[], tuple[Workspace, Setup]]) -> None:
    """In every other process: open the stages that the leader names until it ends the run. `open_run` is called after
    the leader has prepared the run folder. Raises StageFailed where the leader has ended."""
    logging.getLogger("ddb").setLevel(logging.ERROR)  # the leader logs the rest
    run = None
    while stage := processes.shared(""):
        run, error = (run, None) if run else _tried(open_run)
        if _agreed(error) is None and run is not None:
            _, error = _tried(partial(opened, stage, *run))
            _agreed(error)


def opened(name: str, workspace: Workspace, setup: Setup) -> Worker:
    """The worker of a stage in a process that does not write, with the `Fixed` values of the plan that is written."""
    stage = next(stage for stage in setup.stages if stage.name == name)
    plan = workspace.plan(name)
    assert plan is not None, "the leader writes the plan first"
    return setup.open_worker(stage, workspace, Fixed(**plan["fixed"]))


def _tried(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """The result of `call`, or its error to send to the leader."""
    try:
        return call(), None
    except Exception as error:
        return None, to_send(error, f"process {processes.rank()}")


def _agreed(error: Exception | None) -> Exception | None:
    """The first error of any process, in all processes."""
    return processes.shared(next((found for found in processes.gathered(error) if found is not None), None))


@contextmanager
def _exchange() -> Iterator[None]:
    _state.busy = True
    yield
    _state.busy = False
