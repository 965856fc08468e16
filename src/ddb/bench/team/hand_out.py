"""Hands out the parts of a bench to the members of a team, in an order that their needs allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ddb.bench.options import DDB
from ddb.bench.parts import ORACLE, RUN, Part, PartRunner
from ddb.bench.studies.arms import STUDIES
from ddb.bench.team.member import Gone, Outcome, Team
from ddb.engine import journal
from ddb.errors import StageFailed


def run_parts(runner: PartRunner) -> None:
    """Run all parts of the bench, as many at once as the team has members. Raises the first error of a part; the other
    running parts are stopped, and resumed by the next call."""
    parts = runner.parts()
    with _team(runner, len(parts)) as team:
        hand_out(runner, parts, team)


def hand_out(runner: PartRunner, parts: list[Part], team: Team) -> None:
    """Give the parts to the members until all are done."""
    parts = sorted(parts, key=_longest_first)
    idle, busy, done = list(range(team.size)), dict[int, Part](), set[Part]()
    while len(done) < len(parts):
        taken = done | set(busy.values())
        for part in (p for p in parts if p not in taken and not (runner.needs(p) & set(parts)) - done):
            if not idle:
                break
            busy[idle[-1]] = part
            team.give(idle.pop(), part)
        for member, heard in team.hear():
            title = runner.title(busy[member])
            if isinstance(heard, str):
                runner.progress.say(heard if heard.startswith(title) else f"{title}: {heard}")
                continue
            _check(runner, title, heard)
            done.add(busy.pop(member))
            idle.append(member)


def _check(runner: PartRunner, title: str, ended: Outcome | Gone) -> None:
    """Raise the error of a part that failed, or StageFailed for a member that is gone."""
    if isinstance(ended, Gone):
        raise StageFailed(f"{title}: its process {ended.why} Fewer --processes need less memory. Run again to go on.")
    if ended.error is not None:
        for note in getattr(ended.error, "__notes__", ()):
            journal.failure(runner.folder.root, title, "", note)
        raise ended.error


def _longest_first(part: Part) -> tuple[int, int]:
    """Sort key: runs first, then the oracle, then ddb and its studies, because other parts wait for these."""
    kinds = [(RUN,), (ORACLE,), (DDB, *STUDIES.values())]
    return next((rank for rank, names in enumerate(kinds) if part.name in names), len(kinds)), part.seed


@contextmanager
def _team(runner: PartRunner, parts: int) -> Iterator[Team]:
    """The team that the options ask for, with at most `parts` members; it ends with the context."""
    if runner.options.engine == "ray":
        from ddb.bench.team.actors import actors

        with actors(runner, parts) as team:
            yield team
    else:
        from ddb.bench.team.processes import processes

        with processes(runner, min(runner.options.processes, parts)) as team:
            yield team
