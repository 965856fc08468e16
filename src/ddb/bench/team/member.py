"""One member of a team: it runs one part after another, and reports messages and outcomes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from ddb.bench.folder import Folder
from ddb.bench.options import Options
from ddb.bench.parts import Part, PartRunner
from ddb.config import RunConfig
from ddb.engine.progress import Lines, warnings_shown

EVERY = 30.0
"""Seconds between two progress lines of a stage in a member."""


@dataclass(frozen=True)
class Outcome:
    """A part has ended; `error` is None where it succeeded."""

    error: Exception | None


@dataclass(frozen=True)
class Gone:
    """The member has ended without an outcome. `why`: words that follow "its process"."""

    why: str


Heard = str | Outcome | Gone
"""What a member reports: a line for the terminal, or how its part or itself has ended."""


class Team(Protocol):
    """Members by number, from 0."""

    size: int

    def give(self, member: int, part: Part) -> None:
        """Have an idle member run a part."""

    def hear(self) -> list[tuple[int, Heard]]:
        """Wait until members report; their reports in order."""


@dataclass(frozen=True)
class Assignment:
    """What every member is started with. `threads`: how many it uses."""

    config: RunConfig
    options: Options
    folder: Folder
    threads: int


@contextmanager
def part_runner(given: Assignment, say: Callable[[str], None]) -> Iterator[Callable[[Part], None]]:
    """What runs parts in this process. `say` shows lines of progress and warnings."""
    torch.set_num_threads(given.threads)
    progress = _Sent(say)
    runners: list[PartRunner] = []

    def run(part: Part) -> None:
        if not runners:
            runners.append(PartRunner(given.config, given.options, given.folder, progress))
        runners[0].run(part)

    with warnings_shown(progress):
        yield run


class _Sent(Lines):
    """Progress lines that are sent to the leader, which shows them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(sys.stderr, EVERY)
        self._say = say

    def say(self, text: str) -> None:
        self._say(text)
