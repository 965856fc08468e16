"""A team of processes on this machine.

Each process has an equal share of the threads, because small networks use several cores poorly: two fits at the same
time with a thread each finish sooner than two fits with two threads one after the other. Another number of threads sums
in another order, so last digits (and what depends on them) differ from those of one process that uses all threads.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from ddb.bench.parts import Part, PartRunner
from ddb.bench.team.member import Assignment, Gone, Heard, Outcome, part_runner
from ddb.engine.interrupt import guarded
from ddb.errors import DDBError, Interrupted

PATIENCE = 10.0
"""Seconds that a terminated process may take to end before it is killed."""


@dataclass(frozen=True)
class _Member:
    """A process of the team, and the connection to it."""

    process: BaseProcess
    line: Connection

    def heard(self) -> Heard:
        try:
            heard: Heard = self.line.recv()
        except (EOFError, ConnectionResetError):
            return self.gone()
        return heard

    def gone(self) -> Gone:
        self.process.join(PATIENCE)
        code = self.process.exitcode
        killed = code is not None and code < 0
        return Gone(f"was killed (signal {-(code or 0)}); out of memory?" if killed else "ended (see above).")


class _Processes:
    """See `member.Team`."""

    def __init__(self, members: list[_Member]) -> None:
        self.size, self._members = len(members), members
        self._broken: list[tuple[int, Heard]] = []

    def give(self, member: int, part: Part) -> None:
        try:
            self._members[member].line.send(part)
        except BrokenPipeError:
            self._broken.append((member, self._members[member].gone()))

    def hear(self) -> list[tuple[int, Heard]]:
        if self._broken:
            return [self._broken.pop()]
        ready = wait([one.line for one in self._members])
        return [(number, one.heard()) for number, one in enumerate(self._members) if one.line in ready]


@contextmanager
def processes(runner: PartRunner, size: int) -> Iterator[_Processes]:
    """`size` processes that wait for parts; all are ended on exit, also after an error."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // size)
    given = Assignment(runner.config, replace(runner.options, processes=1), runner.folder, threads)
    members: list[_Member] = []
    try:
        for _ in range(size):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, given))
            process.start()
            there.close()
            members.append(_Member(process, here))
        yield _Processes(members)
    finally:
        for member in members:
            member.process.terminate()
        for member in members:
            member.process.join(PATIENCE)
            member.process.kill()
            member.line.close()


def _work(line: Connection, given: Assignment) -> None:
    """The main function of a process: it receives parts over `line` and sends messages and outcomes back."""
    os.setsid()  # Ctrl-C in a terminal reaches only the leader, which then ends this process
    threading.Thread(target=_end_with_leader, daemon=True).start()
    with suppress(Interrupted, EOFError), part_runner(given, line.send) as run, guarded():
        while True:
            part = line.recv()
            try:
                run(part)
                error = None
            except Interrupted:
                raise
            except DDBError as failed:
                error = failed
            line.send(Outcome(error))


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None, "runs in a process of the team"
    wait([leader.sentinel])
    os._exit(1)
