"""Several parts of a bench at once, each in a process of its own.

The processes share nothing but the bench folder: a part leaves its records there, and whoever needs them reads them.
The cores are dealt out evenly, since small networks keep several cores busy badly: two fits of one thread are done
sooner than one after the other of two. (Another number of threads sums in another order: last digits, and what hangs on
them, differ from those of one process that uses all cores.)
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
from ddb.bench.parts import JUDGE, RUN, Bench, Part
from ddb.bench.studies.arms import STUDIES
from ddb.config import RunConfig
from ddb.engine.interrupt import guarded
from ddb.engine.progress import Lines, warnings_shown
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, Interrupted, StageFailed

PATIENCE = 10.0
"""Seconds that a process which was told to stop may take before it is killed."""
EVERY = 30.0
"""Seconds between the lines of a stage in a process."""


@dataclass(frozen=True)
class _Said:
    text: str


@dataclass(frozen=True)
class _Done:
    error: DDBError | None


@dataclass(frozen=True)
class _Member:
    process: BaseProcess
    line: Connection


def do(bench: Bench) -> None:
    """Do all parts of the bench, as many at once as `processes` says. Raises the first DDBError of a part; the parts in
    hand are stopped then, and go on where they were next time."""
    parts = sorted(bench.parts(), key=_longest_first)
    done: set[Part] = set()
    with _team(bench, min(bench.options.processes, len(parts))) as idle:
        busy: dict[Connection, tuple[_Member, Part]] = {}
        while len(done) < len(parts):
            taken = done | {part for _, part in busy.values()}
            for part in (p for p in parts if p not in taken and not (bench.needs(p) & set(parts)) - done):
                if not idle:
                    break
                member = idle.pop()
                _give(member, part, bench.title(part))
                busy[member.line] = member, part
            for line in wait(list(busy)):
                assert isinstance(line, Connection)
                member, part = busy[line]
                heard, title = _heard(member), bench.title(part)
                if heard is None:
                    raise _lost(member, title)
                if isinstance(heard, _Said):
                    named = heard.text.startswith(title)
                    bench.progress.say(heard.text if named else f"{title}: {heard.text}")
                    continue
                if heard.error is not None:
                    raise heard.error
                del busy[line]
                done.add(part)
                idle.append(member)


def _longest_first(part: Part) -> tuple[int, int]:
    """Runs before all, then the judge, ddb and its studies, which others wait for."""
    kinds = [(RUN,), (JUDGE,), (DDB, *STUDIES.values())]
    return next((place for place, names in enumerate(kinds) if part.name in names), len(kinds)), part.seed


def _give(member: _Member, part: Part, title: str) -> None:
    try:
        member.line.send(part)
    except BrokenPipeError:
        raise _lost(member, title) from None


def _heard(member: _Member) -> _Said | _Done | None:
    """What the process said; None where it is gone."""
    try:
        heard: _Said | _Done = member.line.recv()
    except (EOFError, ConnectionResetError):
        return None
    return heard


def _lost(member: _Member, title: str) -> StageFailed:
    member.process.join(PATIENCE)
    code = member.process.exitcode
    why = f"was killed (signal {-code}); out of memory?" if code is not None and code < 0 else "ended (see above)."
    return StageFailed(f"{title}: its process {why} Fewer --processes need less memory. Run again to go on.")


@contextmanager
def _team(bench: Bench, size: int) -> Iterator[list[_Member]]:
    """Processes that wait for parts; gone at the end, whatever happens."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // size)
    options = replace(bench.options, processes=1)
    members: list[_Member] = []
    try:
        for _ in range(size):
            here, there = context.Pipe()
            arguments = (there, bench.config, options, bench.folder, threads)
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
    """A process of the team: parts come in over `line`, what is said and how each ended goes out."""
    os.setsid()  # Ctrl-C in a terminal reaches the leader alone, which ends this process
    threading.Thread(target=_end_with_leader, daemon=True).start()
    torch.set_num_threads(threads)
    progress = _Sent(line)
    with suppress(Interrupted, EOFError), warnings_shown(progress), guarded():
        bench: Bench | None = None
        while True:
            part = line.recv()
            try:
                bench = bench or Bench(config, options, folder, Workspace(folder.root, ()), progress)
                bench.do(part)
                error = None
            except Interrupted:
                raise
            except DDBError as failed:
                error = failed
            line.send(_Done(error))


def _end_with_leader() -> None:
    leader = multiprocessing.parent_process()
    assert leader is not None, "runs in a process of the team"
    wait([leader.sentinel])
    os._exit(1)


class _Sent(Lines):
    """Progress whose lines the leader shows."""

    def __init__(self, line: Connection) -> None:
        super().__init__(sys.stderr, EVERY)
        self._line = line

    def say(self, text: str) -> None:
        self._line.send(_Said(text))
