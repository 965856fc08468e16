"""One run in several processes: the leader runs the pipeline as one process does, the others compute batches for it.

    torchrun --nproc-per-node 2 -m ddb.cli run ...        accelerate launch -m ddb.cli run ...

A stage's batches are distributed in rounds, one batch per process. Their rows are gathered in the leader, which writes
all files except those that a row refers to (tokens). Batches have the same borders as in one process, so the tables are
identical. Training happens while a stage opens, in all processes together (`ddb.learn.training.parallel`).
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
    """A request of the leader to the other processes: open `stage`, compute one of its batches each, or (no stage)
    end."""

    stage: str = ""
    batches: tuple[Batch, ...] = ()


class _State:
    """`busy`: True during a collective call, and for good after one failed: no request can be sent then."""

    busy: bool = False


_state = _State()


def join(device: str) -> bool:
    """Initialise the process group, if there are other processes. True in the leader."""
    processes.join(device)
    return processes.leads()


def engine(stage: str) -> Engine:
    """The engine that computes the batches of a stage: in this process alone, or in all processes."""
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
    """Context of the leader's run: on exit the other processes are told to end, unless the same signal stopped them."""
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
    """In every other process: serve the leader's requests until it ends the run. `open_run` is called after the leader
    has prepared the run folder. Raises StageFailed where the leader has ended."""
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
    """The worker, opened with the `Fixed` values of the leader's plan."""
    stage = next(stage for stage in setup.stages if stage.name == name)
    plan = workspace.plan(name)
    assert plan is not None, "the leader writes the plan first"
    return setup.open_worker(stage, workspace, Fixed(**plan["fixed"]))


def _tried(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """The result of `call`, or its error to send to the leader. An exception of another library becomes a StageFailed
    with its message and its traceback as a note; OSError of a full disk is kept."""
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
