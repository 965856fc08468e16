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
    for _ in range(6):
        progress.advance(5, 0)
    progress.stop("finished")


def test_lines_are_few() -> None:
    stream = io.StringIO()
    work(Lines(stream, every=1000))
    assert stream.getvalue().splitlines() == [
        "inpaint: 40 rows planned, 10 there already",
        "inpaint: finished, 40 of 40 rows, 0:00",
    ]


def test_lines_between_say_how_far() -> None:
    stream = io.StringIO()
    work(Lines(stream, every=0))
    assert [line.split("(")[0] for line in stream.getvalue().splitlines()[1:-1]] == [
        f"inpaint: {done}/40 rows " for done in range(15, 45, 5)
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
