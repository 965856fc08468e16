"""Phases of different batches at the same time: rows in order, failures in their place, no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ddb.engine.local import execute
from ddb.engine.overlap import overlapped
from ddb.errors import ModelError
from ddb.stage import Batch, Phased, Row

BATCHES: list[Batch] = [["a", "b"], ["c", None], ["d"], ["e"]]
SECONDS = 30.0
"""After so long a phase that should run beside another has not: the test fails."""


def row(name: str, value: int = 0) -> Row:
    return {"id": name, "status": "ok", "error": "", "value": value}


def worker(**phases: Callable[[Any], Any]) -> Phased:
    """Rows of the ids; each phase after a function of its own."""

    def phase(name: str, result: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(given: Any) -> Any:
            phases.get(name, lambda _: None)(given)
            return result(given)

        return run

    return Phased(
        phase("read", lambda batch: [name for name in batch if name is not None]),
        phase("compute", lambda names: names),
        phase("rows", lambda names: [row(name) for name in names]),
    )


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if thread.name.startswith("ddb-")} <= before


def ids(rows: Iterator[list[Row]]) -> list[list[str]]:
    return [[one["id"] for one in part] for part in rows]


def test_rows_come_in_order_as_without_threads() -> None:
    made = worker()
    assert ids(execute(lambda: made, BATCHES)) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert ids(execute(lambda: made.__call__, BATCHES)) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert ids(execute(lambda: made, [])) == []


def test_the_next_batch_is_read_and_the_last_one_written_while_one_is_computed() -> None:
    """The second batch's computation waits until the third was read and the first is being written; the first's writing
    waits for that computation: this ends only where all three run at the same time."""
    third_read, first_written, second_computed = (threading.Event() for _ in range(3))

    def read(batch: Batch) -> None:
        if batch == BATCHES[2]:
            third_read.set()

    def compute(names: list[str]) -> None:
        if names == ["c"]:
            assert third_read.wait(SECONDS) and first_written.wait(SECONDS)
            second_computed.set()

    def rows(names: list[str]) -> None:
        if names == ["a", "b"]:
            first_written.set()
            assert second_computed.wait(SECONDS)

    def alone(failed: Phased, batch: Batch) -> list[Row]:
        raise AssertionError(f"{batch}: a phase waited in vain")

    made = worker(read=read, compute=compute, rows=rows)
    assert ids(overlapped(made, BATCHES, alone)) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_reading_stays_one_batch_ahead() -> None:
    """Neither less, or the model would wait, nor more: the images of every batch that was read are in memory."""
    read: list[Batch] = []
    ahead: list[int] = []
    made = worker(read=read.append, compute=lambda names: ahead.append(len(read)))
    many: list[Batch] = [[str(number)] for number in range(20)]
    assert len(list(execute(lambda: made, many))) == 20
    assert all(count <= number + 2 for number, count in enumerate(ahead))


@pytest.mark.parametrize("phase", ["read", "compute", "rows"])
def test_an_exception_costs_the_row_that_raises_it_in_its_place(phase: str) -> None:
    """The batch is computed again, each id alone: neighbours are there, and the order is kept."""

    def fails(given: Any) -> None:
        if "b" in given:
            raise ValueError("damaged")

    made = worker(**{phase: fails})
    found = list(execute(lambda: made, BATCHES))
    assert [[one["id"] for one in rows] for rows in found] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert [one["status"] for rows in found for one in rows] == ["ok", "error", "ok", "ok", "ok"]
    assert found[0][1]["error"] == "ValueError: damaged" and "ValueError" in found[0][1]["traceback"]


@pytest.mark.parametrize("phase", ["read", "compute", "rows"])
def test_an_error_of_the_stage_comes_after_the_rows_of_earlier_batches(phase: str) -> None:
    def fails(given: Any) -> None:
        if "d" in given:
            raise ModelError("the model is gone")

    rows = execute(lambda: worker(**{phase: fails}), BATCHES)
    assert [[one["id"] for one in next(rows)] for _ in range(2)] == [["a", "b"], ["c"]]
    with pytest.raises(ModelError, match="the model is gone"):
        next(rows)


def test_an_interrupt_passes_through_and_stops_the_threads() -> None:
    def stops(names: list[str]) -> None:
        if "c" in names:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(execute(lambda: worker(compute=stops), BATCHES))


def test_a_caller_that_stops_early_stops_the_threads() -> None:
    rows = execute(lambda: worker(), BATCHES)
    assert [one["id"] for one in next(rows)] == ["a", "b"]
    rows.close()
