"""One run in several processes: the leader runs the pipeline as one process does, the others compute batches for it.

    torchrun --nproc-per-node 2 -m ddb.cli run ...        accelerate launch -m ddb.cli run ...

A stage's batches are handed out in rounds, one batch a process. Their rows come back to the leader, which writes all
files but those that a row consists of (tokens). Batches have the borders they have in one process, so the tables are
the same. Training happens while a stage opens, in all processes together (`ddb.learn.parallel`).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from ddb.engine import local
from ddb.engine.files import is_disk_full
from ddb.engine.local import Engine, attempt
from ddb.engine.runner import Setup
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, StageFailed
from ddb.learn import processes
from ddb.stage import Batch, Fixed, Row, Worker

T = TypeVar("T")


@dataclass(frozen=True)
class _Request:
    """What the leader asks the others for: open `stage`, compute a batch of it each, or (no stage) end."""

    stage: str = ""
    batches: tuple[Batch, ...] = ()


class _State:
    """`busy`: during an exchange, and from then on where an exchange failed: no request reaches the others then."""

    busy: bool = False


_state = _State()


def join(device: str) -> bool:
    """Meet the other processes, if there are any. True for the one that leads."""
    processes.join(device)
    return processes.leads()


def engine(stage: str) -> Engine:
    """What computes the batches of a stage: this process alone, or all processes."""
    if processes.count() == 1:
        return local.execute

    def execute(open_worker: Callable[[], Worker], batches: Iterable[Batch]) -> Iterator[list[Row]]:
        with _exchange():
            processes.shared(_Request(stage))
            worker, error = None, _agreed(None)
            if error is None:
                worker, own = _tried(open_worker)
                error = _agreed(own)
        if error is not None or worker is None:
            raise error or StageFailed(f"stage {stage} could not be opened")
        rest = iter(batches)
        while turn := list(islice(rest, processes.count())):
            with _exchange():
                processes.shared(_Request(stage, tuple(turn)))
                results = processes.gathered(_tried(partial(attempt, worker, turn[0])))
            for rows, error in results[: len(turn)]:
                if error is not None:
                    raise error
                yield rows or []

    return execute


@contextmanager
def led() -> Iterator[None]:
    """In the leader, around its run: end the others with it, unless they got the same signal to stop."""
    _state.busy = False
    try:
        yield
    except KeyboardInterrupt:
        _state.busy = True
        raise
    finally:
        if processes.count() > 1 and not _state.busy:
            processes.shared(_Request())


def follow(open_run: Callable[[], tuple[Workspace, Setup]]) -> None:
    """In every other process: do what the leader asks for, until it ends the run. `open_run` is called when the leader
    has prepared the run folder. Raises StageFailed where the leader is gone."""
    logging.getLogger("ddb").setLevel(logging.ERROR)  # the leader logs the rest
    run, worker = None, None
    while (request := processes.shared(_Request())).stage:
        if request.batches:
            number = processes.rank()
            batch = request.batches[number] if number < len(request.batches) else []
            processes.gathered(_tried(partial(attempt, worker, batch)) if worker and batch else ([], None))
            continue
        run, error = (run, None) if run else _tried(open_run)
        if _agreed(error) is None and run is not None:
            worker, error = _tried(partial(_opened, request.stage, *run))
            _agreed(error)


def _opened(name: str, workspace: Workspace, setup: Setup) -> Worker:
    """The worker, opened as the leader's plan says."""
    stage = next(stage for stage in setup.stages if stage.name == name)
    plan = workspace.plan(name)
    assert plan is not None, "the leader writes the plan first"
    return setup.open_worker(stage, workspace, Fixed(**plan["fixed"]))


def _tried(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What `call` gives, or its error, for the leader. An exception of another library becomes a StageFailed with its
    message, and its traceback as a note; a full disk stays what it is."""
    try:
        return call(), None
    except DDBError as error:
        return None, error
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error):
            return None, OSError(error.errno, error.strerror)
        told = StageFailed(f"process {processes.rank()}: {type(error).__name__}: {error}")
        told.add_note("".join(traceback.format_exception(error)))
        return None, told


def _agreed(error: Exception | None) -> Exception | None:
    """The first error of any process, in all processes."""
    return processes.shared(next((found for found in processes.gathered(error) if found is not None), None))


@contextmanager
def _exchange() -> Iterator[None]:
    _state.busy = True
    yield
    _state.busy = False
