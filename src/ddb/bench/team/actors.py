"""A team of Ray actors. A part whose actor is lost goes on in another one, from its records and checkpoints."""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import ray
import torch

from ddb.bench.parts import Part, PartRunner
from ddb.bench.team.member import Assignment, Gone, Heard, Outcome, part_runner
from ddb.engine.cluster.actor import enter
from ddb.engine.cluster.answer import to_send
from ddb.engine.cluster.connection import Wanted, connected, room
from ddb.engine.cluster.ray_pool import in_words
from ddb.learn.device import open_accelerator
from ddb.learn.processes import forget_launcher

TRIES = 3
"""Actors that a part may lose before the bench stops."""


class PartActor:
    """Runs parts in one thread of its process while another one waits for what there is to report."""

    def __init__(self, folder: str, given: Assignment) -> None:
        self._folder, self._given = folder, given
        self._reports: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._open = ExitStack()
        self._run: Callable[[Part], None] | None = None

    def run(self, part: Part) -> None:
        """Run a part; its outcome is the last report."""
        where = f"worker on {socket.gethostname()}"
        try:
            if self._run is None:
                forget_launcher()
                enter(self._folder, where)
                self._run = self._open.enter_context(part_runner(self._given, self._reports.put))
            self._run(part)
            error = None
        except Exception as failed:
            error = to_send(failed, where)
        self._reports.put(Outcome(error))

    def report(self) -> Heard:
        """The next report; waits for it."""
        return self._reports.get()


@contextmanager
def actors(runner: PartRunner, most: int) -> Iterator[_Actors]:
    """A team of at most `most` actors; all are ended on exit. ConfigError as `connection.connected` and `room`."""
    config, options = runner.config, runner.options
    device = open_accelerator(config.device, config.precision).device.type
    with connected():
        found = room(Wanted(device, config.device, torch.get_num_threads(), options.processes or config.ray.workers))
        found = replace(found, workers=min(found.workers, most))
        runner.progress.say(f"ray: {found.in_words()}")
        given = Assignment(config, replace(options, engine="local", processes=1), runner.folder, found.threads)
        actor = ray.remote(PartActor).options(max_concurrency=2, **found.resources())
        team = _Actors(partial(actor.remote, os.getcwd(), given), found.workers)
        try:
            yield team
        finally:
            team.close()


class _Actors:
    """See `member.Team`. A member is the actor that runs its part at present."""

    def __init__(self, start: partial[Any], size: int) -> None:
        self.size, self._start = size, start
        self._actors = [start() for _ in range(size)]
        self._parts: dict[int, Part] = {}
        self._losses: dict[Part, int] = {}
        self._awaited: dict[Any, int] = {}

    def give(self, member: int, part: Part) -> None:
        self._parts[member] = part
        self._actors[member].run.remote(part)
        self._awaited[self._actors[member].report.remote()] = member

    def hear(self) -> list[tuple[int, Heard]]:
        (first,), _ = ray.wait(list(self._awaited), num_returns=1)
        member = self._awaited.pop(first)
        try:
            heard: Heard = ray.get(first)
        except ray.exceptions.RayError as error:
            return [(member, self._lost(member, in_words(error)))]
        if isinstance(heard, str):
            self._awaited[self._actors[member].report.remote()] = member
        return [(member, heard)]

    def close(self) -> None:
        """End all actors."""
        for actor in self._actors:
            ray.kill(actor)

    def _lost(self, member: int, why: str) -> Heard:
        """Give the part of a lost actor to a new one, unless it has lost too many."""
        part = self._parts[member]
        self._losses[part] = self._losses.get(part, 0) + 1
        if self._losses[part] >= TRIES:
            return Gone(f"was lost {TRIES} times ({why}).")
        ray.kill(self._actors[member])  # it may only be out of reach
        self._actors[member] = self._start()
        self.give(member, part)
        return f"its worker was lost ({why}); it goes on in another one"
