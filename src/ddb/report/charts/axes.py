"""Scales with ticks, and how grid lines and tick labels are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ddb.report.charts.svg import line, text

MOST_DECADES = 8
"""Decades that a logarithmic axis shows at most, the largest ones."""
SMALLEST = 1e-12
"""What stands for zero on a logarithmic axis."""


@dataclass(frozen=True)
class Axis:
    """`ticks`: (value, label) in rising order; the axis reaches from the first to the last. `log`: values are spaced by
    their logarithms (all ticks are positive)."""

    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """The position of a value in [0, 1]; values beyond an end are drawn at that end."""
        low, high, own = (self._scaled(number) for number in (self.ticks[0][0], self.ticks[-1][0], value))
        return min(1.0, max(0.0, (own - low) / ((high - low) or 1.0)))

    def percent(self, value: float) -> float:
        """The position of a value in percent of the chart's width."""
        return 100 * self.share(value)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, SMALLEST)) if self.log else value


PERCENT = Axis([(0.25 * n, f"{25 * n}%") for n in range(5)])
"""Shares from 0 to 1."""
UNIT = Axis([(0.25 * n, f"{0.25 * n:g}") for n in range(5)])
"""Probabilities from 0 to 1."""


def accuracy_axis(values: Sequence[float]) -> Axis:
    """Percent in round steps, from just below the lowest accuracy to just above the highest, within 0 and 100%."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 6 or step == 0.2)
    first = max(0, math.floor(low / step - 0.4))
    last = min(round(1 / step), max(first + 1, math.ceil(high / step + 0.4)))
    return Axis([(step * n, f"{100 * step * n:.0f}%") for n in range(first, last + 1)])


def round_axis(values: Sequence[float]) -> Axis:
    """At most seven ticks at round numbers (1, 2 or 5 times a power of ten apart) that enclose all values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 5))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return Axis([(step * n, f"{step * n:.6g}".replace("-", "−")) for n in range(first, max(last, first + 1) + 1)])


def log_axis(values: Sequence[float]) -> Axis:
    """Whole decades that enclose all (positive) values; the largest eight where there are more."""
    if not values:
        return Axis([(0.1, "0.1"), (1.0, "1")], log=True)
    low = math.floor(math.log10(max(min(values), SMALLEST)))
    high = max(math.ceil(math.log10(max(*values, SMALLEST))), low + 1)
    low = max(low, high - MOST_DECADES)
    return Axis([(10.0**n, _power(n)) for n in range(low, high + 1)], log=True)


def named_axis(names: Sequence[str], before: float = 0.35, after: float = 0.35) -> Axis:
    """A tick with a name at each of 0, 1, 2, ..., with room of `before` and `after` units beside them."""
    ticks = [(float(n), name) for n, name in enumerate(names)]
    return Axis([(-before, ""), *ticks, (len(names) - 1 + after, "")])


def vertical_grid(axis: Axis, top: float, bottom: float) -> list[Markup]:
    """A line at every tick of a horizontal axis."""
    return [line("grid", axis.percent(value), top, axis.percent(value), bottom) for value, _ in axis.ticks]


def labels_below(axis: Axis, y: float, *, inside: bool = False) -> list[Markup]:
    """The tick labels of a horizontal axis, with their baseline at y. `inside`: those of both ends do not reach beyond
    the chart, which has no margins."""
    found = []
    for value, words in axis.ticks:
        x = axis.percent(value)
        anchor = "start" if inside and x < 0.5 else "end" if inside and x > 99.5 else "middle"
        found.append(text(x, y, words, anchor))
    return found


def enclosing(intervals: Iterable[tuple[float, float]], step: float, limit: float) -> tuple[float, float]:
    """Ends of an axis in whole steps that holds 0 and all intervals, at least one step to either side and at most
    `limit`."""
    ends = [0.0, *(end for pair in intervals for end in pair)]
    low = step * min(-1, math.floor(min(ends) / step))
    return max(-limit, low), min(limit, step * max(1, math.ceil(max(ends) / step)))


def _power(exponent: int) -> str:
    """-2 -> "0.01", -6 -> "10⁻⁶"."""
    if -4 <= exponent <= 4:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
