"""The same facts as lines and as a bar."""

from __future__ import annotations

import io
import logging

import pytest

from ddb.engine.progress import Bar, Lines, Messages, Progress, clock, facts, open_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rate_and_time_left() -> None:
    assert (
        facts("erm", done=60, planned=100, new=20, errors=0, seconds=10)
        == "erm: 60/100 rows (60%), 2.0 rows/s, 0:20 left"
    )
    assert facts("invert", 1, 2, 1, 0, 40) == "invert: 1/2 rows (50%), 40.0 s/row, 0:40 left"
    assert facts("erm", 0, 100, 0, 0, 1).endswith("? left")
    assert facts("erm", 5, 10, 5, 2, 5).endswith("2 with an error")


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def work(progress: Progress) -> None:
    progress.start("inpaint", 40, 10)
    progress.opening()
    progress.opened()
    for _ in range(6):
        progress.advance(5, 0)
    progress.stop("finished")


def test_lines_are_few() -> None:
    stream = io.StringIO()
    work(Lines(stream, every=1000))
    assert stream.getvalue().splitlines() == [
        "inpaint: 40 rows planned, 10 there already",
        "inpaint: opening",
        "inpaint: finished, 40 of 40 rows, 0:00",
    ]


def test_lines_between_say_how_far() -> None:
    stream = io.StringIO()
    work(Lines(stream, every=0))
    assert [line.split("(")[0] for line in stream.getvalue().splitlines()[2:-1]] == [
        f"inpaint: {done}/40 rows " for done in range(15, 45, 5)
    ]


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_the_rate_is_that_of_the_rows_since_the_worker_is_open() -> None:
    """An hour of training and rows that were there before say nothing about the rows that are left."""
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, every=5, now=clock)
    lines.start("erm", 100, 20)
    lines.opening()
    clock.seconds += 3600
    lines.say("epoch 6/6: loss 0.1")
    lines.opened()
    for _ in range(4):
        clock.seconds += 10
        lines.advance(20, 0)
    lines.stop("finished")
    assert stream.getvalue().splitlines() == [
        "erm: 100 rows planned, 20 there already",
        "erm: opening",
        "epoch 6/6: loss 0.1",
        "erm: 40/100 rows (40%), 2.0 rows/s, 0:30 left",
        "erm: 60/100 rows (60%), 2.0 rows/s, 0:20 left",
        "erm: 80/100 rows (80%), 2.0 rows/s, 0:10 left",
        "erm: 100/100 rows (100%), 2.0 rows/s, 0:00 left",
        "erm: finished, 100 of 100 rows, 1:00:40",
    ]


def test_where_the_worker_opens_elsewhere_the_first_rows_start_the_clock() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, every=0, now=clock)
    lines.start("score", 40, 0)
    lines.opening()
    for seconds in (300, 4, 4):
        clock.seconds += seconds
        lines.advance(10, 0)
    assert stream.getvalue().splitlines()[2:] == [
        "score: 20/40 rows (50%), 2.5 rows/s, 0:08 left",
        "score: 30/40 rows (75%), 2.5 rows/s, 0:04 left",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    bar = open_progress(stream)
    assert isinstance(bar, Bar)
    work(bar)
    bar.say("[not markup]")
    assert "inpaint: finished" in stream.getvalue()
    assert "40/40" in stream.getvalue()
    assert "[not markup]" in stream.getvalue()
    assert isinstance(open_progress(io.StringIO()), Lines)


def test_what_stages_log_is_shown() -> None:
    stream, log = io.StringIO(), logging.getLogger("ddb.test")
    handler = Messages(Lines(stream))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("epoch %d", 3)
    log.warning("too few")
    log.removeHandler(handler)
    assert stream.getvalue() == "epoch 3\nwarning: too few\n"
