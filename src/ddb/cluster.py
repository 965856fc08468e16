"""A run whose row stages are computed by the workers of a Ray cluster.

The driver is the process that the user started. It plans, trains, and writes every table; each worker opens the stages
from the run folder with a `Models` object of its own (`ddb.engine.cluster`). Training over several processes is
torchrun's (`ddb.crew`), which the driver may be started by.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

from ddb.config import RunConfig
from ddb.crew import opened
from ddb.engine.cluster import connection
from ddb.engine.cluster.ray_pool import ray_engine
from ddb.engine.local import Engine
from ddb.engine.runner import ENVIRONMENT, Setup, as_set
from ddb.engine.workspace import Workspace
from ddb.errors import StageFailed
from ddb.learn import processes
from ddb.stage import Worker

OpenRun = Callable[[], tuple[Workspace, Setup]]
"""The run as a worker sees it; called in the worker's process."""


@contextmanager
def shared_rows(setup: Setup, config: RunConfig, rows: Collection[str], open_run: OpenRun) -> Iterator[Setup]:
    """The setup with which the stages `rows` are computed by workers, and the others as before. The workers end with
    the context.

    Raises ConfigError as `connection.connected` and `connection.room`."""
    with connection.connected():
        wanted = connection.Wanted(setup.fixed.device, config.device, setup.fixed.threads, config.ray.workers)
        room = connection.room(wanted)
        setup.progress.say(f"ray: {room.in_words()}")
        with ray_engine(partial(_opener, open_run), room, config.ray.stuck_after) as workers:

            def engine(stage: str) -> Engine:
                if stage in rows:
                    return workers(stage)
                if room.gpus:  # one of them is this process's own
                    workers.release()
                return setup.engine(stage)

            fixed = replace(setup.fixed, threads=room.threads)
            yield replace(setup, fixed=fixed, engine=engine, choose=as_set)  # this process may have another device


def _opener(open_run: OpenRun) -> Callable[[str], Worker]:
    """In a worker: what opens a stage."""
    processes.forget_launcher()
    workspace, setup = open_run()

    def open_stage(name: str) -> Worker:
        now = Workspace(workspace.root, workspace.stages)
        _check_environment(name, now, setup)
        return opened(name, now, setup)

    return open_stage


def _check_environment(stage: str, workspace: Workspace, setup: Setup) -> None:
    """StageFailed where the rows of this worker would be mixed with those of another device, dtype or version."""
    began, here = (workspace.plan(stage) or {}).get("fixed", {}), asdict(setup.fixed)
    words = [f"{key} {here[key]}, not {began[key]}" for key in ENVIRONMENT if key in began and began[key] != here[key]]
    if words and setup.policy.resume_elsewhere == "refuse":
        raise StageFailed(
            f"stage {stage}: a worker on {socket.gethostname()} has {', '.join(words)}. Use machines that are "
            "alike, or allow the mixture with --set resume_elsewhere=continue."
        )
