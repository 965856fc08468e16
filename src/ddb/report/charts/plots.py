"""Charts with two axes: a grid with tick labels to the left and below, and what is drawn on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ddb.report.charts.axes import Axis, labels_below, round_axis, vertical_grid
from ddb.report.charts.interval import Interval
from ddb.report.charts.svg import chart, dot, line, rect, text

BINS = 40
TOP, BELOW = 8, 26
"""Pixels above the upper end of a vertical axis, and below its lower end for tick labels."""
WIDTH = 1000
"""Pixels that a plot is assumed to be wide when names are put beside its points."""
LETTER, LINE = 6.6, 15
"""Pixels of a letter and of a line of a name."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom; pixels."""


@dataclass(frozen=True)
class Grid:
    """The area of a plot: `across` from left to right, `up` from `bottom` (pixels) to the top."""

    across: Axis
    up: Axis
    bottom: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Percent and pixels of a point."""
        return self.across.percent(x), self.height(y)

    def height(self, y: float) -> float:
        """Pixels of a value on the vertical axis."""
        return TOP + (self.bottom - TOP) * (1 - self.up.share(y))

    def marks(self) -> list[Markup]:
        """Grid lines and tick labels."""
        marks = vertical_grid(self.across, TOP, self.bottom)
        for value, words in self.up.ticks:
            y = self.height(value)
            marks += [line("grid", 0, y, 100, y), text(0, y + 4, words, "end", shift=-8)]
        return [*marks, *labels_below(self.across, self.bottom + 18)]

    def drawn(self, marks: Sequence[Markup], label: str, scale: Mapping[str, float] | None = None) -> Markup:
        """The grid with marks on it; `scale` as for `svg.chart`."""
        return chart([*self.marks(), *marks], self.bottom + BELOW, label, "gridded", scale)


@dataclass(frozen=True)
class Histogram:
    """Values on a logarithmic axis. `marked`: those of them that are drawn in colour; `cut`: a value with a line and
    the words `cut_name`; `ticks`: values with a short stroke below the axis."""

    values: Sequence[float]
    marked: Sequence[float]
    cut: float | None
    cut_name: str
    ticks: Sequence[float]


def histogram(data: Histogram, across: Axis, label: str) -> Markup:
    """Counts per bin: all values, the marked ones at the bottom of each bar."""
    everyone, marked = _binned(data.values, across), _binned(data.marked, across)
    grid = Grid(across, round_axis([0, max(everyone, default=0)]), 140)
    step, marks = 100 / BINS, []
    for n, (count, chosen) in enumerate(zip(everyone, marked, strict=True)):
        top, middle = grid.height(count), grid.height(chosen)
        if count > chosen:
            marks.append(rect("others fill", n * step + 0.15, top, step - 0.3, middle - top))
        if chosen:
            marks.append(rect("majority fill", n * step + 0.15, middle, step - 0.3, grid.bottom - middle))
    if data.cut is not None:
        x = across.percent(data.cut)
        marks.append(line("cut", x, TOP, x, grid.bottom))
        right = x < 60
        marks.append(text(x, TOP - 5, data.cut_name, "start" if right else "end"))
    for value in data.ticks:
        x = across.percent(value)
        marks.append(line("tick", x, grid.bottom - 4, x, grid.bottom + 4))
    return grid.drawn(marks, label)


def scatter(points: Sequence[tuple[float, float, str, int | None]], across: Axis, label: str) -> Markup:
    """A small dot for every (x, y, kind, row), with a line at y = 0 where that lies inside. The vertical scale stands
    in data attributes: `low` and `high`, and their positions `bottom` and `top` in pixels."""
    grid = Grid(across, round_axis([y for _, y, _, _ in points]), 190)
    low, high = grid.up.ticks[0][0], grid.up.ticks[-1][0]
    marks = [line("zero", 0, grid.height(0), 100, grid.height(0))] if low < 0 < high else []
    marks += [dot(f"{kind} dot", *grid.at(x, y), 2.6, row) for x, y, kind, row in points]
    return grid.drawn(marks, label, {"low": low, "high": high, "top": TOP, "bottom": grid.bottom})


def curve(values: Sequence[float], marked: int, up: Axis, label: str) -> Markup:
    """Values at 1, 2, 3, ... joined by straight lines; the one at `marked` has a dot."""
    grid = Grid(_whole_axis(len(values)), up, 120)
    places = [grid.at(number, value) for number, value in enumerate(values, 1)]
    marks = [line("path", *one, *two) for one, two in zip(places, places[1:], strict=False)]
    if 1 <= marked <= len(places):
        marks.append(dot("after dot", *places[marked - 1]))
    return grid.drawn(marks, label)


def _whole_axis(last: int) -> Axis:
    """From 1 to `last` with at most seven ticks at whole numbers."""
    step = max(1, round((last - 1) / 6))
    ticks = [*range(1, last - step // 2, step), last] if last > 1 else [1]
    return Axis([(number, str(number)) for number in ticks])


@dataclass(frozen=True)
class Point:
    """A dot of class `kind` with intervals in both directions and a name."""

    name: str
    x: Interval
    y: Interval
    kind: str


def plot(points: Sequence[Point], grid: Grid, label: str, *, joined: bool = False, named: bool = True) -> Markup:
    """Points with their intervals; `joined` by straight lines in order, with their names beside them where `named`."""
    positions = [grid.at(point.x.value, point.y.value) for point in points]
    marks = []
    if joined:
        marks += [line("path", *one, *two) for one, two in zip(positions, positions[1:], strict=False)]
    for point, (x, y) in zip(points, positions, strict=True):
        if point.y.ends is not None:
            low, high = map(grid.height, point.y.ends)
            marks.append(line(f"{point.kind} whisker", x, low, x, high))
        if point.x.ends is not None:
            low, high = map(grid.across.percent, point.x.ends)
            marks.append(line(f"{point.kind} whisker", low, y, high, y))
    marks += [dot(f"{point.kind} dot", x, y, 5) for point, (x, y) in zip(points, positions, strict=True)]
    return grid.drawn([*marks, *(_names(points, positions) if named else [])], label)


def _binned(values: Sequence[float], axis: Axis) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(axis.share(value) * BINS))] += 1
    return counts


def _names(points: Sequence[Point], positions: Sequence[tuple[float, float]]) -> list[Markup]:
    """Each name where it covers no dot and no other name: right, left, above or below of its dot, else right."""
    taken = [(cx * WIDTH / 100 - 6, cy - 6, cx * WIDTH / 100 + 6, cy + 6) for cx, cy in positions]
    marks = []
    for point, (cx, cy) in zip(points, positions, strict=True):
        px, wide = cx * WIDTH / 100, LETTER * len(point.name)
        tries = [(9.0, 4.0, "start"), (-9.0, 4.0, "end"), (0.0, -10.0, "middle"), (0.0, 19.0, "middle")]
        tries += [(9.0, 4.0 + rise, "start") for rise in (-LINE, LINE)]
        tries += [(-9.0, 4.0 + rise, "end") for rise in (-LINE, LINE)]
        spots = [(dx, dy, anchor, _box(px + dx, cy + dy, wide, anchor)) for dx, dy, anchor in tries]
        inside = [spot for spot in spots if spot[3][0] > 0 and spot[3][2] < WIDTH]
        free = [spot for spot in inside if not any(_overlap(spot[3], box) for box in taken)]
        dx, dy, anchor, box = (free or inside or spots)[0]
        taken.append(box)
        marks.append(text(cx, cy + dy, point.name, anchor, kind=f"name {point.kind}", shift=dx))
    return marks


def _box(x: float, y: float, wide: float, anchor: str) -> Box:
    start = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return start, y - 11, start + wide, y + 3


def _overlap(one: Box, two: Box) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
