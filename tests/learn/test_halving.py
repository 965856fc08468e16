"""Batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from ddb.errors import DDBError
from ddb.learn.halving import BatchSize, in_halves


class Machine:
    """Squares numbers; holds at most `room` of them."""

    def __init__(self, room: int, error: type[RuntimeError] = torch.OutOfMemoryError, words: str = "no room") -> None:
        self.room, self.error, self.words = room, error, words
        self.batches: list[int] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(len(batch))
        if len(batch) > self.room:
            raise self.error(self.words)
        return [n * n for n in batch]


def batch(size: int) -> BatchSize:
    return BatchSize(size, "inpaint.batch_size", "lower inpaint.image_size")


def run(machine: Machine, count: int, size: int | BatchSize) -> list[int]:
    return in_halves(machine, list(range(count)), size if isinstance(size, BatchSize) else batch(size))


def test_batches_are_as_asked_where_there_is_room() -> None:
    machine = Machine(100)
    assert run(machine, 10, 4) == [n * n for n in range(10)]
    assert machine.batches == [4, 4, 2]
    assert run(machine, 0, 4) == []


def test_a_batch_is_halved_until_it_fits_and_its_holder_remembers() -> None:
    machine, held = Machine(3), batch(16)
    assert run(machine, 20, held) == [n * n for n in range(20)]
    assert machine.batches == [16, 8, 4] + [2] * 10
    machine.batches.clear()
    assert run(machine, 3, held) == [0, 1, 4]
    assert machine.batches == [2, 1]
    machine.batches.clear()
    run(machine, 3, 3)
    assert machine.batches == [3], "a model that is opened anew starts with its setting"


def test_a_short_last_batch_halves_what_it_held() -> None:
    machine = Machine(2)
    assert run(machine, 3, 100) == [0, 1, 4]
    assert machine.batches == [3, 1, 1, 1]


@pytest.mark.parametrize("words", ["MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_other_devices_words_for_it_count_too(words: str) -> None:
    assert run(Machine(1, RuntimeError, words), 3, 2) == [0, 1, 4]


def test_one_item_that_does_not_fit_says_what_to_lower() -> None:
    machine = Machine(0)
    with pytest.raises(DDBError, match=r"out of memory with inpaint.batch_size 1: lower inpaint.image_size"):
        run(machine, 5, 4)
    assert machine.batches == [4, 2, 1]


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run(Machine(0, RuntimeError, "shapes do not match"), 5, 4)
