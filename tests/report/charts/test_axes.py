"""Axes hold their values and have round ticks."""

from __future__ import annotations

import math

import pytest

from ddb.report.charts.axes import Axis, accuracy_axis, enclosing, log_axis, named_axis, round_axis

VALUES = ([0.02, 0.97], [0.5], [0.999, 1.0], [0.0, 0.0], [])


@pytest.mark.parametrize("values", VALUES)
def test_accuracy_axis_holds_the_values_within_0_and_100_percent(values: list[float]) -> None:
    axis = accuracy_axis(values)
    assert 0 <= axis.ticks[0][0] < axis.ticks[-1][0] <= 1 + 1e-9
    assert all(axis.ticks[0][0] <= value <= axis.ticks[-1][0] + 1e-9 for value in values)
    assert len(axis.ticks) <= 9


@pytest.mark.parametrize("values", [[-3.2, 9.1], [0.0, 27], [5.0], [-0.004, 0.001], [0, 120_000], []])
def test_round_axis_holds_the_values_at_round_ticks(values: list[float]) -> None:
    axis = round_axis(values)
    numbers = [value for value, _ in axis.ticks]
    assert all(numbers[0] <= value <= numbers[-1] for value in values)
    assert 2 <= len(numbers) <= 7
    step = numbers[1] - numbers[0]
    assert step / 10 ** math.floor(math.log10(step) + 1e-9) == pytest.approx(
        round(step / 10 ** math.floor(math.log10(step) + 1e-9))
    )


def test_log_axis_has_whole_decades_and_at_most_eight() -> None:
    assert [words for _, words in log_axis([0.02, 3]).ticks] == ["0.01", "0.1", "1", "10"]
    assert [words for _, words in log_axis([1e-20, 1e-7]).ticks][0] == "10⁻¹²"
    assert len(log_axis([1e-12, 1]).ticks) == 9
    assert log_axis([0.01, 100]).share(1) == pytest.approx(0.5)
    assert log_axis([]).share(0.5) > 0


def test_values_beyond_an_end_are_drawn_at_it() -> None:
    axis = Axis([(0.0, ""), (2.0, "")])
    assert [axis.percent(value) for value in (-1, 0, 1, 3)] == [0, 0, 50, 100]


def test_named_axis_leaves_room_beside_its_ticks() -> None:
    axis = named_axis(["a", "b", "c"], 0.5, 0.5)
    assert [axis.percent(n) for n in range(3)] == pytest.approx([100 / 6, 50, 500 / 6])


@pytest.mark.parametrize(
    ("intervals", "ends"),
    [([], (-0.05, 0.05)), ([(0.01, 0.12)], (-0.05, 0.15)), ([(-0.22, -0.2)], (-0.25, 0.05)), ([(-3, 3)], (-1, 1))],
)
def test_enclosing_holds_zero_and_the_intervals(
    intervals: list[tuple[float, float]], ends: tuple[float, float]
) -> None:
    assert enclosing(intervals, 0.05, 1.0) == pytest.approx(ends)
