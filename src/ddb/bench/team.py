"""Runs several parts of a bench at once, each in its own process.

The processes share only the bench folder: a part writes its records there, and other parts read them. Each process has
an equal share of the threads, because small networks use several cores poorly: two fits at the same time with a thread
each finish sooner than two fits with two threads one after the other. Another number of threads sums in another order,
so last digits (and what depends on them) differ from those of one process that uses all threads.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from ddb.bench.folder import Folder
from ddb.bench.options import DDB, Options
from ddb.bench.parts import ORACLE, RUN, Part, PartRunner
from ddb.bench.studies.arms import STUDIES
from ddb.config import RunConfig
from ddb.engine.interrupt import guarded
from ddb.engine.progress import Lines, warnings_shown
from ddb.errors import DDBError, Interrupted, StageFailed

PATIENCE = 10.0
"""Seconds that a terminated process may take to end before it is killed."""
EVERY = 30.0
"""Seconds between two progress lines of a stage in a process."""


@dataclass(frozen=True)
class _Message:
    """A line for the terminal."""

    text: str


@dataclass(frozen=True)
class _Outcome:
    """A part has ended; `error` is None where it succeeded."""

    error: DDBError | None


@dataclass(frozen=True)
class _Member:
    """A process of the team, and the connection to it."""

    process: BaseProcess
    line: Connection


def run_parts(runner: PartRunner) -> None:
    """Run all parts of the bench, `processes` at a time. Raises the first DDBError of a part; the other running parts
    are stopped, and resumed by the next call."""
    parts = sorted(runner.parts(), key=_longest_first)
    done: set[Part] = set()
    with _team(runner, min(runner.options.processes, len(parts))) as idle:
        busy: dict[Connection, tuple[_Member, Part]] = {}
        while len(done) < len(parts):
            taken = done | {part for _, part in busy.values()}
            for part in (p for p in parts if p not in taken and not (runner.needs(p) & set(parts)) - done):
                if not idle:
                    break
                member = idle.pop()
                _give(member, part, runner.title(part))
                busy[member.line] = member, part
            for line in wait(list(busy)):
                assert isinstance(line, Connection)
                member, part = busy[line]
                heard, title = _heard(member), runner.title(part)
                if heard is None:
                    raise _lost(member, title)
                if isinstance(heard, _Message):
                    named = heard.text.startswith(title)
                    runner.progress.say(heard.text if named else f"{title}: {heard.text}")
                    continue
                if heard.error is not None:
                    raise heard.error
                del busy[line]
                done.add(part)
                idle.append(member)


def _longest_first(part: Part) -> tuple[int, int]:
    """Sort key: runs first, then the oracle, then ddb and its studies, because other parts wait for these."""
    kinds = [(RUN,), (ORACLE,), (DDB, *STUDIES.values())]
    return next((rank for rank, names in enumerate(kinds) if part.name in names), len(kinds)), part.seed


def _give(member: _Member, part: Part, title: str) -> None:
    try:
        member.line.send(part)
    except BrokenPipeError:
        raise _lost(member, title) from None


def _heard(member: _Member) -> _Message | _Outcome | None:
    """The next message of the process; None where the process is gone."""
    try:
        heard: _Message | _Outcome = member.line.recv()
    except (EOFError, ConnectionResetError):
        return None
    return heard


def _lost(member: _Member, title: str) -> StageFailed:
    member.process.join(PATIENCE)
    code = member.process.exitcode
    why = f"was killed (signal {-code}); out of memory?" if code is not None and code < 0 else "ended (see above)."
    return StageFailed(f"{title}: its process {why} Fewer --processes need less memory. Run again to go on.")


@contextmanager
def _team(runner: PartRunner, size: int) -> Iterator[list[_Member]]:
    """`size` processes that wait for parts; all are ended on exit, also after an error."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // size)
    options = replace(runner.options, processes=1)
    members: list[_Member] = []
    try:
        for _ in range(size):
            here, there = context.Pipe()
            arguments = (there, runner.config, options, runner.folder, threads)
            process = context.Process(target=_work, args=arguments)
            process.start()
            there.close()
            members.append(_Member(process, here))
        yield list(members)
    finally:
        for member in members:
            member.process.terminate()
        for member in members:
            member.process.join(PATIENCE)
            member.process.kill()
            member.line.close()


def _work(line: Connection, config: RunConfig, options: Options, folder: Folder, threads: int) -> None:
    """The main function of a process: it receives parts over `line` and sends messages and outcomes back."""
    os.setsid()  # Ctrl-C in a terminal reaches only the leader, which then ends this process
    threading.Thread(target=_end_with_leader, daemon=True).start()
    torch.set_num_threads(threads)
    progress = _Sent(line)
    with suppress(Interrupted, EOFError), warnings_shown(progress), guarded():
        runner: PartRunner | None = None
        while True:
            part = line.recv()
            try:
                runner = runner or PartRunner(config, options, folder, progress)
                runner.run(part)
                error = None
            except Interrupted:
                raise
            except DDBError as failed:
                error = failed
            line.send(_Outcome(error))


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None, "runs in a process of the team"
    wait([leader.sentinel])
    os._exit(1)


class _Sent(Lines):
    """Progress lines that are sent to the leader, which shows them."""

    def __init__(self, line: Connection) -> None:
        super().__init__(sys.stderr, EVERY)
        self._line = line

    def say(self, text: str) -> None:
        self._line.send(_Message(text))
