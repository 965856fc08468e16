"""Plots of a bench as inline SVG, as the report's charts: x in percent, y in pixels, colours by CSS class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ddb.bench.show.intervals import Estimate

Scale = Callable[[float], float]
WIDTH = 1000
"""Pixels that a wide plot is assumed to have when labels are placed."""
LETTER, LINE = 6.6, 15
"""Pixels of a letter and of a line of a label."""


@dataclass(frozen=True)
class Point:
    """`x`, `y` with intervals; `kind`: CSS class."""

    label: str
    x: Estimate
    y: Estimate
    kind: str


@dataclass(frozen=True)
class Axis:
    """`ticks`: (value, words), rising; they hold all that is shown."""

    ticks: list[tuple[float, str]]

    def share(self, value: float) -> float:
        """Place between the first tick and the last, kept inside."""
        low, high = self.ticks[0][0], self.ticks[-1][0]
        return min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))


def accuracy_axis(estimates: Sequence[Estimate]) -> Axis:
    """Percent, in round steps, from just below the lowest value (not its interval) to at most 100."""
    values = [estimate.value for estimate in estimates]
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / step <= 5 or step == 0.2)
    first = max(0, math.floor(low / step - 0.4))
    last = min(round(1 / step), max(first + 1, math.ceil(high / step + 0.4)))
    return Axis([(step * n, f"{100 * step * n:.0f}%") for n in range(first, last + 1)])


def plot(
    points: Sequence[Point],
    across: Axis,
    up: Axis,
    label: str,
    height: int = 420,
    *,
    joined: bool = False,
    named: bool = True,
) -> Markup:
    """Dots with whiskers; `joined` by lines in order; names beside them where `named`."""
    left, right, top = 5.5, 98.0, 8

    def x(value: float) -> float:
        return left + (right - left) * across.share(value)

    def y(value: float) -> float:
        return top + (height - top) * (1 - up.share(value))

    marks = []
    for value, words in up.ticks:
        marks += [line("grid", left, y(value), right, y(value)), text(left - 0.8, y(value) + 4, words, "end")]
    for value, words in across.ticks:
        marks += [line("grid", x(value), top, x(value), height), text(x(value), height + 18, words, "middle")]
    if joined:
        for one, two in zip(points, points[1:], strict=False):
            marks.append(line("path", x(one.x.value), y(one.y.value), x(two.x.value), y(two.y.value)))
    for point in points:
        marks += _whiskers(point, x, y)
    dots = [(x(point.x.value), y(point.y.value)) for point in points]
    for point, (cx, cy) in zip(points, dots, strict=True):
        marks.append(Markup('<circle class="{} dot" cx="{:.2f}%" cy="{:.1f}" r="5"/>').format(point.kind, cx, cy))
    marks += _names(points, dots) if named else []
    return svg(marks, height + 24, label, "plot")


def difference(estimate: Estimate | None, ends: tuple[float, float], label: str) -> Markup:
    """A dot with its interval on an axis between `ends`, with a line at 0."""
    if estimate is None:
        return Markup("")
    first, last = ends

    def x(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - first) / (last - first)))

    marks = [line("base", x(0), -8, x(0), 30)]
    if estimate.low is not None and estimate.high is not None:
        marks += [line("after whisker", x(estimate.low), 11, x(estimate.high), 11)]
    marks.append(Markup('<circle class="after dot" cx="{:.2f}%" cy="11" r="4.5"/>').format(x(estimate.value)))
    return svg(marks, 22, label, "difference")


def bar(estimate: Estimate, kind: str, label: str) -> Markup:
    """An accuracy as a bar with its interval; the full width is 100%."""
    marks = [rect(f"{kind} fill", 0, 100 * estimate.value, 4, 10)]
    if estimate.low is not None and estimate.high is not None:
        low, high = (100 * min(1.0, max(0.0, end)) for end in (estimate.low, estimate.high))
        marks.append(line("range", low, 9, high, 9))
    return svg([rect("track", 0, 100, 4, 10), *marks], 18, label, "bar")


def _whiskers(point: Point, x: Scale, y: Scale) -> list[Markup]:
    cx, cy, marks = x(point.x.value), y(point.y.value), []
    if point.y.low is not None and point.y.high is not None:
        marks.append(line(f"{point.kind} whisker", cx, y(point.y.low), cx, y(point.y.high)))
    if point.x.low is not None and point.x.high is not None:
        marks.append(line(f"{point.kind} whisker", x(point.x.low), cy, x(point.x.high), cy))
    return marks


def _names(points: Sequence[Point], dots: Sequence[tuple[float, float]]) -> list[Markup]:
    """Each name where it hides no dot and no other name: right, left, above or below, else right."""
    boxes = [(cx * WIDTH / 100 - 6, cy - 6, cx * WIDTH / 100 + 6, cy + 6) for cx, cy in dots]
    marks = []
    for point, (cx, cy) in zip(points, dots, strict=True):
        px, wide = cx * WIDTH / 100, LETTER * len(point.label)
        tries = [(px + 9, cy + 4, "start"), (px - 9, cy + 4, "end"), (px, cy - 10, "middle"), (px, cy + 19, "middle")]
        tries += [(px + 9, cy + 4 + shift, "start") for shift in (-LINE, LINE)]
        tries += [(px - 9, cy + 4 + shift, "end") for shift in (-LINE, LINE)]
        spots = [(tx, ty, anchor, _box(tx, ty, wide, anchor)) for tx, ty, anchor in tries]
        free = [spot for spot in spots if spot[3][2] < WIDTH and not any(_overlap(spot[3], box) for box in boxes)]
        tx, ty, anchor, box = (free or spots)[0]
        boxes.append(box)
        shape = '<text class="name {}" x="{:.2f}%" y="{:.1f}" dx="{:.0f}" text-anchor="{}">{}</text>'
        marks.append(Markup(shape).format(point.kind, cx, ty, tx - px, anchor, point.label))
    return marks


def _box(x: float, y: float, wide: float, anchor: str) -> tuple[float, float, float, float]:
    start = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return start, y - 11, start + wide, y + 3


def _overlap(one: tuple[float, float, float, float], two: tuple[float, float, float, float]) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    shape = '<line class="{}" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>'
    return Markup(shape).format(kind, x1, y1, x2, y2)


def rect(kind: str, x: float, width: float, y: float, height: float) -> Markup:
    shape = '<rect class="{}" x="{:.2f}%" width="{:.2f}%" y="{:.1f}" height="{:.1f}"/>'
    return Markup(shape).format(kind, x, width, y, height)


def text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text x="{:.2f}%" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, words)


def svg(marks: Sequence[Markup], height: int, label: str, kind: str) -> Markup:
    shape = '<svg class="chart {}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>'
    return Markup(shape).format(kind, height, label, Markup("").join(marks))
