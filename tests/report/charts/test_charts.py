"""Marks stand where their values are; every chart has a label or is hidden from screen readers."""

from __future__ import annotations

import re

import pytest

from ddb.report.charts.axes import UNIT, accuracy_axis, log_axis
from ddb.report.charts.interval import Interval
from ddb.report.charts.key import key
from ddb.report.charts.plots import Grid, Histogram, Point, curve, histogram, plot, scatter
from ddb.report.charts.rows import bar, before_after, difference, percent_axis, sparkline, stacked_bar

SCALE = ("low", "high", "top", "bottom")


def test_whiskers_stand_at_the_ends_of_the_interval() -> None:
    svg = str(before_after(Interval(0.4, 0.3, 0.55), None, "a"))
    assert re.findall(r'<circle[^>]*cx="([\d.]+)%"', svg) == ["40.00"]
    assert 'x1="30.00%" y1="13.0" x2="55.00%"' in svg
    assert "after dot" not in svg
    assert "whisker" not in str(before_after(Interval(0.4), None, "a"))


def test_a_difference_stands_beside_zero() -> None:
    axis = accuracy_axis([0.0, 0.4])
    svg = str(difference(Interval(0.1, 0.05, 0.2), axis, "ddb minus other"))
    zero, dot = (float(re.search(pattern, svg)[1]) for pattern in (r'class="base" x1="([\d.]+)%', r'cx="([\d.]+)%"'))
    assert (zero, dot) == pytest.approx((axis.percent(0), axis.percent(0.1)), abs=0.01)
    assert str(difference(None, axis, "nothing")) == ""


def test_histogram_stacks_every_loss_once() -> None:
    data = Histogram([0.001] * 3 + [0.1] * 5, [0.001] * 3, 0.001, "cut", [0.1])
    svg = str(histogram(data, log_axis([0.0005, 0.9]), "losses"))
    heights = {kind: float(h) for kind, h in re.findall(r'class="(majority|others) fill"[^>]*height="([\d.]+)"', svg)}
    assert heights["majority"] / heights["others"] == pytest.approx(3 / 5, abs=0.01)
    assert svg.count('class="tick"') == 1
    assert svg.count('class="cut"') == 1


def test_stacked_bar_fills_its_share() -> None:
    svg = str(stacked_bar([("kept", 5), ("psi", 2), ("rho", 0), ("none", 3)], 20, "verdicts"))
    assert [float(w) for w in re.findall(r'width="([\d.]+)%" height="16', svg)] == [25.0, 10.0, 15.0]


def test_bar_ends_at_its_share_inside_the_track() -> None:
    svg = str(bar(Interval(0.3, 0.2, 1.4), "after", "share"))
    assert 'class="after fill" x="0.00%" y="4.0" width="30.00%"' in svg
    assert 'class="range" x1="20.00%" y1="9.0" x2="100.00%"' in svg


def test_scatter_has_a_dot_per_point_and_a_line_at_zero() -> None:
    svg = str(scatter([(0.25, -1.0, "kept", 7), (0.5, 2.0, "psi", None)], UNIT, "scores"))
    assert re.findall(r'<circle class="(\w+) dot" cx="([\d.]+)%"', svg) == [("kept", "25.00"), ("psi", "50.00")]
    assert svg.count('class="zero"') == 1
    assert re.findall(r'data-row="(\d+)"', svg) == ["7"]
    low, high, top, bottom = (float(re.search(rf'data-{name}="([^"]+)"', svg)[1]) for name in SCALE)  # type: ignore[index]
    positions = [float(cy) for cy in re.findall(r'cy="([^"]+)"', svg)]
    assert positions == pytest.approx([bottom - (bottom - top) * (y - low) / (high - low) for y in (-1, 2)], abs=0.06)
    assert 'class="zero"' not in str(scatter([(0.5, 1.0, "kept", None)], UNIT, "scores"))


def test_names_in_a_plot_cover_no_dot_and_no_other_name() -> None:
    values = [Interval(0.5), Interval(0.505), Interval(0.51)]
    points = [Point(f"method {n}", value, Interval(0.7), "before") for n, value in enumerate(values)]
    axis = accuracy_axis([0.4, 0.9])
    svg = str(plot(points, Grid(axis, axis, 420), "three"))
    positions = re.findall(r'<text class="name before" x="[\d.]+%" y="([\d.]+)" dx="(-?\d+)"', svg)
    assert len(set(positions)) == 3


def test_the_last_name_does_not_reach_beyond_the_plot() -> None:
    axis = accuracy_axis([0.4, 1.0])
    svg = str(plot([Point("a long name", Interval(0.99), Interval(0.7), "after")], Grid(axis, axis, 420), "one"))
    assert re.search(r'class="name after"[^>]*text-anchor="end"', svg)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 30, 300])
def test_a_curve_has_a_line_between_epochs_and_a_dot_at_the_kept_one(count: int) -> None:
    values = [1 / n for n in range(1, count + 1)]
    svg = str(curve(values, count, UNIT, "loss"))
    assert svg.count('class="path"') == count - 1
    assert re.findall(r'class="after dot" cx="([\d.]+)%"', svg) == ["100.00" if count > 1 else "0.00"]
    ticks = [int(word) for word in re.findall(r'y="138.0"[^>]*>(\d+)</text>', svg)]
    assert ticks[0] == 1 and ticks[-1] == count and len(ticks) <= 9 and ticks == sorted(set(ticks))


def test_words_are_escaped_and_charts_without_words_hidden() -> None:
    assert "&lt;b&gt;" in str(bar(Interval(0.5), "after", "<b>"))
    assert 'role="img" aria-label="loss"' in str(sparkline([2.0, 1.0], "loss"))
    assert 'aria-hidden="true"' in str(percent_axis())
    assert "&lt;i&gt;" in str(key([("dot", "after", "<i>")], "note"))
    assert str(sparkline([1.0], "one value is no line")) == ""
