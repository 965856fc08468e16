"""Batches, losses and time limits, with a pool of workers that computes nothing and a clock that is set."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ddb.engine.cluster import scheduling
from ddb.engine.cluster.answer import Answer, Lost
from ddb.errors import ModelError, StageFailed
from ddb.stage import Batch, Row

Result = list[Row] | Exception | Lost | None


class FakePool:
    """Workers that answer in turn, one request each a look. `behave(worker, batch)`: the rows or error of a batch;
    Lost: the worker dies with it; None: it never answers. `seconds` pass at each look. Workers in `late` appear after
    so many looks; 0: never."""

    def __init__(self, size: int, behave: Callable[[int, Batch], Result], seconds: float = 1.0) -> None:
        self.size, self.behave, self.seconds = size, behave, seconds
        self.late: dict[int, int] = {}
        self.opening: Result = []
        self.asked: dict[int, deque[Batch | str]] = {}
        self.computed: list[tuple[int, Batch]] = []
        self.stopped: list[int] = []
        self.most, self.started, self.now, self.looks = 0, 0, 0.0, 0

    def workers(self) -> list[int]:
        return list(self.asked)

    def start(self) -> int:
        self.started += 1
        self.asked[self.started] = deque()
        return self.started

    def stop(self, worker: int) -> None:
        if self.asked.pop(worker, None) is not None:
            self.stopped.append(worker)

    def open(self, worker: int, stage: str) -> None:
        self.asked[worker] = deque([stage])

    def compute(self, worker: int, batch: Batch) -> None:
        assert not isinstance(self.asked[worker], str)
        self.asked[worker].append(batch)
        self.most = max(self.most, len(self.asked[worker]))

    def answers(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        self.now += self.seconds
        self.looks += 1
        assert self.looks < 10_000, "the stage does not end"
        found: list[tuple[int, Answer | Lost]] = []
        for worker in self.workers():
            if self.asked[worker] and self.looks >= self.late.get(worker, 0):
                found += self._answer(worker, self.asked[worker][0])
        return found

    def _answer(self, worker: int, request: Batch | str) -> list[tuple[int, Answer | Lost]]:
        result = self.opening if isinstance(request, str) else self.behave(worker, request)
        if not isinstance(request, str):
            self.computed.append((worker, request))
        if result is None:
            return []
        if isinstance(result, Lost):
            del self.asked[worker]
            return [(worker, result)]
        self.asked[worker].popleft()
        return [(worker, Answer(error=result) if isinstance(result, Exception) else Answer(result))]


def rows(worker: int, batch: Batch) -> list[Row]:
    return [{"id": name, "slot": slot, "status": "ok"} for slot, name in enumerate(batch) if name is not None]


def batches(count: int, size: int = 3) -> list[list[str]]:
    return [[f"{size * n + slot}" for slot in range(size)] for n in range(count)]


def run(pool: FakePool, given: Sequence[Batch], stuck_after: float = 60.0) -> dict[str, Row]:
    """All rows by id; each came once."""
    found: dict[str, Row] = {}
    for part in scheduling.execute(pool, "toys", given, stuck_after, lambda: pool.now):
        for row in part:
            assert row["id"] not in found
            found[row["id"]] = row
    assert sorted(found) == sorted(name for batch in given for name in batch if name is not None)
    return found


def test_every_batch_is_computed_once_in_its_slots() -> None:
    pool, given = FakePool(3, rows), [["a", None, "b"], [None, "c", None], *batches(20)]
    found = run(pool, given)
    assert {name: row["slot"] for name, row in found.items()} == {
        name: slot for batch in given for slot, name in enumerate(batch) if name is not None
    }
    assert len(pool.computed) == len(given)
    assert {worker for worker, _ in pool.computed} == {1, 2, 3}
    assert pool.most == 2


def test_no_more_workers_than_batches() -> None:
    pool = FakePool(8, rows)
    run(pool, batches(2))
    assert pool.started == 2


def test_a_worker_that_appears_late_is_not_waited_for_and_the_last_batches_do_not_queue() -> None:
    pool = FakePool(2, rows)
    pool.late = {1: 10_000}
    run(pool, batches(4))
    assert {worker for worker, _ in pool.computed} == {2}

    pool = FakePool(2, rows)
    pool.late = {2: 5}
    run(pool, batches(2))
    assert pool.most == 1  # the second batch would have been free for the second worker


def test_a_free_worker_takes_what_a_slow_one_does_not() -> None:
    """Worker 1 needs nine looks for a batch, worker 2 one: no rounds in which one waits for the other."""
    left = {"looks": 0}

    def behave(worker: int, batch: Batch) -> Result:
        if worker == 1:
            left["looks"] += 1
            return None if left["looks"] % 9 else rows(worker, batch)
        return rows(worker, batch)

    pool = FakePool(2, behave)
    run(pool, batches(20), stuck_after=1e6)
    done = [worker for worker, batch in pool.computed if worker == 2]
    assert len(done) >= 16


def test_a_lost_worker_loses_no_row() -> None:
    dead: list[int] = []

    def behave(worker: int, batch: Batch) -> Result:
        if worker in (1, 2) and worker not in dead:
            dead.append(worker)
            return Lost("its machine does not answer")
        return rows(worker, batch)

    pool = FakePool(2, behave)
    found = run(pool, batches(10))
    assert {row["status"] for row in found.values()} == {"ok"}
    assert pool.started == 4
    assert len(pool.computed) == 10 + 2


@pytest.mark.parametrize("reason", [Lost("killed"), None], ids=["dies", "hangs"])
def test_a_row_that_takes_its_workers_along_becomes_one_error_row(
    reason: Lost | None, caplog: pytest.LogCaptureFixture
) -> None:
    pool = FakePool(2, lambda worker, batch: reason if "13" in batch else rows(worker, batch))
    found = run(pool, batches(10), stuck_after=60)
    failed = {name: row for name, row in found.items() if row["status"] == "error"}
    assert list(failed) == ["13"]
    assert ("killed" if reason else "no answer for 6") in failed["13"]["error"]
    assert "traceback" in failed["13"]
    assert len([1 for _, batch in pool.computed if "13" in batch and len(set(batch)) == 3]) >= 2
    assert (found["12"]["slot"], found["14"]["slot"]) == (0, 2)  # computed alone, in their slots
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 3


def test_two_poisonous_rows_in_one_batch() -> None:
    pool = FakePool(1, lambda worker, batch: Lost("killed") if {"1", "2"} & set(batch) else rows(worker, batch))
    found = run(pool, batches(3))
    assert [name for name, row in found.items() if row["status"] == "error"] == ["1", "2"]


def test_a_stuck_batch_is_tried_elsewhere() -> None:
    pool = FakePool(2, lambda worker, batch: None if worker == 1 and "0" in batch else rows(worker, batch))
    found = run(pool, batches(30), stuck_after=60)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert pool.stopped == [1]
    assert 60 < pool.now < 100


def test_slow_batches_are_not_stuck() -> None:
    """All batches take 100 s: more than `stuck_after`, but no more than the others; one takes 9 times as long."""
    began: dict[str, float] = {}

    def behave(worker: int, batch: Batch) -> Result:
        first = str(batch[0])
        began.setdefault(first, pool.now)
        needed = 900 if first == "12" else 100
        return rows(worker, batch) if pool.now - began[first] >= needed else None

    pool = FakePool(1, behave, seconds=10)
    run(pool, batches(8), stuck_after=60)
    assert not pool.stopped


def test_workers_that_are_lost_again_and_again_end_the_stage() -> None:
    pool = FakePool(2, rows)
    pool.opening = Lost("no driver for this card")
    with pytest.raises(StageFailed, match=r"stage toys: 7 workers were lost .* the last: no driver for this card"):
        run(pool, batches(10))


def test_losses_with_progress_in_between_do_not() -> None:
    """Every third batch kills its worker at the first try."""
    tried: set[str] = set()

    def behave(worker: int, batch: Batch) -> Result:
        first = str(batch[0])
        if int(first) % 9 == 0 and first not in tried:
            tried.add(first)
            return Lost("killed")
        return rows(worker, batch)

    pool = FakePool(1, behave)
    assert {row["status"] for row in run(pool, batches(60)).values()} == {"ok"}
    assert pool.started == 21


def test_an_error_is_raised_as_it_is_and_busy_workers_are_stopped() -> None:
    pool = FakePool(2, lambda worker, batch: ModelError("no such weights") if worker == 2 else None)
    with pytest.raises(ModelError, match="^no such weights$"):
        run(pool, batches(10))
    assert sorted(pool.stopped) == [1, 2]


def test_no_worker_in_sight_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    pool = FakePool(1, rows)
    pool.late = {1: 200}
    run(pool, batches(2))
    assert [record.getMessage() for record in caplog.records].count(
        "toys: still no worker has opened it. `ray status` shows what is free."
    ) == 1


def test_messages_of_workers_are_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ddb")

    class Talking(FakePool):
        def _answer(self, *request: Any) -> list[tuple[int, Answer | Lost]]:
            said = ((logging.INFO, "batches of 4"),)
            return [(w, Answer(a.rows, said=said)) for w, a in super()._answer(*request) if isinstance(a, Answer)]

    run(Talking(2, rows), batches(6))
    assert [record.getMessage() for record in caplog.records] == ["batches of 4"]


def test_the_next_stage_uses_the_workers_that_are_there() -> None:
    pool = FakePool(2, rows)
    run(pool, batches(6))
    run(pool, batches(6))
    assert pool.started == 2
    assert not pool.stopped


def test_a_worker_that_opens_an_earlier_stage_disturbs_nobody() -> None:
    pool = FakePool(2, rows)
    pool.late = {2: 9}
    run(pool, batches(4))
    pool.late[1] = 12  # the second stage is opened by worker 1 after worker 2 has opened the first
    run(pool, batches(1))
    assert {worker for worker, _ in pool.computed} == {1}


def test_a_batch_that_has_lost_a_worker_shares_none() -> None:
    """Worker 1 computes a batch and dies in the next one before its answer is sent."""
    alone: list[bool] = []
    pool = FakePool(1, rows)

    def behave(worker: int, batch: Batch) -> Result:
        if "0" in batch:
            alone.append(len(pool.asked[worker]) == 1)
            return Lost("killed") if len(alone) < 2 else rows(worker, batch)
        return rows(worker, batch)

    pool.behave = behave
    run(pool, batches(12))
    assert alone == [False, True]
