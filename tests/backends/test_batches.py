"""Batches of a fixed shape: blanks, failures of single items, halves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from ddb.backends import Failed
from ddb.backends.batches import Rooms, first_fault, in_fixed_batches
from ddb.errors import ConfigError, DDBError
from ddb.learn.halving import BatchSize

BLANK = -1


class Work:
    """Squares numbers and remembers its batches; raises at one of `bad`, and at more than `room` numbers."""

    def __init__(self, bad: Sequence[int] = (), room: int = 99, error: Exception | None = None) -> None:
        self.bad, self.room, self.error = set(bad), room, error or IndexError("index out of range in self")
        self.batches: list[list[int]] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if self.bad & set(batch):
            raise self.error
        return [number**2 for number in batch]


def run(work: Work, items: Sequence[int | Failed], size: int) -> list[int | Failed]:
    return in_fixed_batches(work, items, BLANK, BatchSize(size, "inpaint.batch_size", "lower it"))


def test_every_batch_has_the_same_shape() -> None:
    work = Work()
    assert run(work, [1, 2, 3, 4, 5], 3) == [1, 4, 9, 16, 25]
    assert work.batches == [[1, 2, 3], [4, 5, BLANK]]


def test_a_blank_takes_the_place_of_what_failed_before() -> None:
    work, gone = Work(), Failed("unreadable")
    assert run(work, [1, gone, 3], 3) == [1, gone, 9]
    assert work.batches == [[1, BLANK, 3]]


def test_nothing_is_computed_where_nothing_is_left() -> None:
    work, gone = Work(), Failed("unreadable")
    assert run(work, [gone, gone, 3], 2) == [gone, gone, 9]
    assert work.batches == [[3, BLANK]]
    assert run(work, [], 2) == []


def test_an_item_that_raises_fails_alone_in_its_place() -> None:
    work = Work(bad=[3])
    first, second, third, fourth = run(work, [1, 2, 3, 4], 3)
    assert (first, second, fourth) == (1, 4, 16)
    assert isinstance(third, Failed)
    assert third.reason == "IndexError: index out of range in self"
    assert "IndexError" in third.traceback and "__call__" in third.traceback
    assert work.batches == [
        [1, 2, 3], [1, BLANK, BLANK], [BLANK, 2, BLANK], [BLANK, BLANK, 3], [4, BLANK, BLANK],
    ]  # fmt: skip


def test_errors_of_ddb_pass_through() -> None:
    with pytest.raises(ConfigError, match="phrase"):
        run(Work(bad=[2], error=ConfigError("data.phrase: too long")), [1, 2], 2)


@pytest.mark.parametrize(("size", "shapes"), [(4, [4, 2, 2, 2, 2]), (7, [7, 3, 3, 3])])
def test_halves_have_one_shape_too(size: int, shapes: list[int]) -> None:
    work = Work(room=3)
    numbers = list(range(7))
    assert run(work, numbers, size) == [number**2 for number in numbers]
    assert [len(batch) for batch in work.batches] == shapes
    assert all(number in {*numbers, BLANK} for batch in work.batches for number in batch)


def test_memory_that_one_item_does_not_fit_into_is_told() -> None:
    with pytest.raises(DDBError, match="out of memory with inpaint.batch_size 1: lower it"):
        run(Work(room=0), [1, 2], 2)


def test_what_is_not_finite_is_named_with_its_likely_cause() -> None:
    good, bad = torch.zeros(2, 3), torch.zeros(2, 3)
    bad[1, 2] = torch.nan
    checks = [
        ("a", torch.float32, good),
        ("b", torch.float32, None),
        ("c", torch.float16, bad),
        ("d", torch.float32, bad),
    ]
    assert first_fault(checks, 0) is None
    found = first_fault(checks, 1)
    assert found is not None
    assert found.reason.startswith("c is not finite: it may overflow in fp16 (set precision fp32, or bf16)")
    exact = first_fault(checks[3:], 1)
    assert exact is not None
    assert exact.reason == "d is not finite: the weights may be damaged; `ddb models verify` compares them."
    assert first_fault([("e", torch.bfloat16, bad / 0)], 0) is not None


def test_the_size_that_fits_is_remembered_for_each_size_that_was_asked_for() -> None:
    rooms, work = Rooms("inpaint.batch_size", "lower it"), Work(room=2)
    in_fixed_batches(work, [1, 2, 3, 4], BLANK, rooms.of(4))
    work.batches.clear()
    assert in_fixed_batches(work, [1, 2, 3], BLANK, rooms.of(4)) == [1, 4, 9]
    assert work.batches == [[1, 2], [3, BLANK]]
    assert rooms.of(3).size == 3
