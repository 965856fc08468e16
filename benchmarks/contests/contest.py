"""Rates of contenders that do the same work, measured in turn in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch

Work = Callable[[], int]
"""Does a piece of work; returns how many units it was."""


@dataclass(frozen=True)
class Line:
    """A contender's rate. `of_peer`: ddb's rate divided by this one (1 for ddb itself)."""

    contest: str
    contender: str
    unit: str
    rate: float
    ddb_is_faster: float
    note: str = ""


@dataclass
class Results:
    """Lines, each printed as soon as it is known."""

    lines: list[Line] = field(default_factory=list)

    def head(self) -> None:
        print("| contest | contender | rate | ddb / contender | note |\n|---|---|---:|---:|---|", flush=True)

    def add(self, line: Line) -> None:
        self.lines.append(line)
        cells = (line.contest, line.contender, f"{line.rate:,.4g} {line.unit}", f"{line.ddb_is_faster:.2f}", line.note)
        print(f"| {' | '.join(cells)} |", flush=True)

    def as_json(self) -> list[dict[str, object]]:
        return [asdict(line) for line in self.lines]


@dataclass(frozen=True)
class Contest:
    """`contenders`: the first one is ddb. `rounds`: each contender works once in each, after a warm-up of its own."""

    name: str
    unit: str
    contenders: Mapping[str, Work]
    notes: Mapping[str, str] = field(default_factory=dict)

    def run(self, results: Results, rounds: int, device: torch.device) -> None:
        """Measure all contenders in turn; the median of the rounds counts."""
        for work in self.contenders.values():
            work()
        rates: dict[str, list[float]] = {name: [] for name in self.contenders}
        for _ in range(rounds):
            for name, work in self.contenders.items():
                rates[name].append(rate(work, device))
        ours = statistics.median(next(iter(rates.values())))
        for name, found in rates.items():
            middle = statistics.median(found)
            results.add(Line(self.name, name, self.unit, middle, ours / middle, self.notes.get(name, "")))


def rate(work: Work, device: torch.device) -> float:
    """Units a second, with everything computed."""
    start = time.perf_counter()
    units = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return units / (time.perf_counter() - start)
