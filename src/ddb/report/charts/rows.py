"""Charts of one line, for a cell of a table."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ddb.report.charts.axes import PERCENT, Axis, labels_below, vertical_grid
from ddb.report.charts.interval import Interval
from ddb.report.charts.svg import chart, dot, line, rect


def before_after(before: Interval | None, after: Interval | None, label: str) -> Markup:
    """Two accuracies with their intervals on an axis from 0 to 100%, the one before above the one after."""
    marks = vertical_grid(PERCENT, -9, 49)
    for interval, kind, y in ((before, "before", 13), (after, "after", 27)):
        if interval is not None:
            marks += with_whiskers(interval, PERCENT, y, kind)
    return chart(marks, 40, label, "before-after")


def percent_axis() -> Markup:
    """Tick labels from 0 to 100%, to stand under a column of `before_after`."""
    return chart(labels_below(PERCENT, 12, inside=True), 16, "", "axis")


def difference(interval: Interval | None, axis: Axis, label: str) -> Markup:
    """A difference with its interval on an axis that holds 0, where a line stands. Empty where there is none."""
    if interval is None:
        return Markup("")
    zero = axis.percent(0)
    return chart([line("base", zero, -8, zero, 30), *with_whiskers(interval, axis, 11, "after")], 22, label, "row")


def bar(interval: Interval, kind: str, label: str) -> Markup:
    """A share as a bar with its interval; the full width is 100%."""
    marks = [rect("track", 0, 4, 100, 10), rect(f"{kind} fill", 0, 4, PERCENT.percent(interval.value), 10)]
    if interval.ends is not None:
        low, high = map(PERCENT.percent, interval.ends)
        marks.append(line("range", low, 9, high, 9))
    return chart(marks, 18, label, "row")


def stacked_bar(parts: Sequence[tuple[str, int]], whole: int, label: str) -> Markup:
    """Counts side by side as (kind, count); the full width is `whole`."""
    marks, x = [], 0.0
    for kind, count in parts:
        width = 100 * count / max(whole, 1)
        if count:
            marks.append(rect(f"{kind} fill", x, 4, width, 16))
        x += width
    return chart(marks, 24, label, "row")


def sparkline(values: Sequence[float], label: str) -> Markup:
    """Values joined by straight lines in order, the lowest one marked. Empty for fewer than two."""
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, len(values) - 1
    points = [(1 + 98 * n / last, 5 + 26 * (high - value) / span) for n, value in enumerate(values)]
    marks = [line("path", *one, *two) for one, two in zip(points, points[1:], strict=False)]
    return chart([*marks, dot("after dot", *points[values.index(low)], 3)], 36, label, "row")


def with_whiskers(interval: Interval, axis: Axis, y: float, kind: str) -> list[Markup]:
    """A dot at the value and a line over the interval, with a short stroke at both ends."""
    marks = []
    if interval.ends is not None:
        low, high = map(axis.percent, interval.ends)
        marks.append(line(f"{kind} whisker", low, y, high, y))
        marks += [line(f"{kind} whisker", end, y - 3, end, y + 3) for end in (low, high)]
    return [*marks, dot(f"{kind} dot", axis.percent(interval.value), y)]
