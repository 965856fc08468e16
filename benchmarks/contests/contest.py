"""Rates of contenders that do the same work, measured in turn in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch

Contender = Callable[[], float]
"""Works for a while; returns its rate, units a second."""


@dataclass(frozen=True)
class Line:
    """A contender's rate. `ddb_is_faster`: ddb's rate divided by this one (1 for ddb itself)."""

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
    """`contenders`: the first one is ddb. `notes`: contender -> note."""

    name: str
    unit: str
    contenders: Mapping[str, Contender]
    notes: Mapping[str, str] = field(default_factory=dict)

    def run(self, results: Results, rounds: int) -> None:
        """Measure all contenders in turn, `rounds` times after one round of warm-up; the median counts."""
        rates: dict[str, list[float]] = {name: [] for name in self.contenders}
        for number in range(rounds + 1):
            for name, contender in self.contenders.items():
                found = contender()
                if number:
                    rates[name].append(found)
        ours = statistics.median(next(iter(rates.values())))
        for name, found in rates.items():
            middle = statistics.median(found)
            results.add(Line(self.name, name, self.unit, middle, ours / middle, self.notes.get(name, "")))


def timed(work: Callable[[], int], device: torch.device) -> Contender:
    """A contender from work that returns how many units it has done; everything has to be computed."""

    def run() -> float:
        synchronise(device)
        start = time.perf_counter()
        units = work()
        synchronise(device)
        return units / (time.perf_counter() - start)

    return run


def synchronise(device: torch.device) -> None:
    """Wait until a device has computed everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
