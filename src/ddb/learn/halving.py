"""Work in batches that shrink when memory runs out: one place for it, for everything whose item n depends on item n
alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from ddb.errors import DDBError

Item = TypeVar("Item")
Result = TypeVar("Result")


class OutOfMemory(DDBError):
    """Even one item does not fit into memory: the message says what to lower."""


@dataclass
class BatchSize:
    """How many items go through an opened model at once. Held by whoever opened the model, and gone with it.

    `size` starts as the setting says and is lowered for good when memory runs out; `setting`: its full name,
    "inpaint.batch_size"; `remedy` ends the message where one item does not fit: "lower inpaint.image_size".
    """

    size: int
    setting: str
    remedy: str

    def halve(self, tried: int) -> None:
        """Lower `size` after a batch of `tried` items did not fit. OutOfMemory where it was one item."""
        if tried <= 1:
            raise OutOfMemory(f"out of memory with {self.setting} 1: {self.remedy}.")
        self.size = tried // 2


def in_halves(
    work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], batch: BatchSize
) -> list[Result]:
    """`work` over the items in batches of at most `batch.size`: one result an item, in order.

    A batch that does not fit into memory is halved until it does, and `batch` keeps the smaller size; what was computed
    before is kept. OutOfMemory where one item does not fit. Any other error passes through.
    """
    return [result for part in batches(work, items, batch) for result in part]


def batches(work: Callable[[Sequence[Item]], Result], items: Sequence[Item], batch: BatchSize) -> Iterator[Result]:
    """As `in_halves`, for work with one result a batch, of any kind."""
    done = 0
    while done < len(items):
        part = items[done : done + batch.size]
        result = tried(work, part)
        if result is None:
            batch.halve(len(part))
        else:
            yield result
            done += len(part)


def tried(work: Callable[[Item], Result], item: Item) -> Result | None:
    """`work(item)`, or None where memory ran out; the device's cache is emptied then."""
    try:
        return work(item)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not should_reduce_batch_size(error):
            raise
    clear_device_cache(garbage_collection=True)  # after the except block: the error's frames held the batch's tensors
    return None
