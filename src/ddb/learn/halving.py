"""Batches that are halved when memory runs out, for work in which the result of an item depends on that item alone."""

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
    """A single item does not fit into memory; the message names the setting to lower."""


@dataclass
class BatchSize:
    """Number of items in a batch of an opened model; it lives as long as the model.

    `size` starts at the value of the setting and stays lowered after memory ran out; `setting`: the setting's full
    name, "inpaint.batch_size"; `remedy`: end of the message where one item does not fit, "lower inpaint.image_size".
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
    """Apply `work` to the items in batches of at most `batch.size`: one result per item, in order.

    A batch that does not fit into memory is halved until it does, and `batch` keeps the smaller size; earlier results
    are kept. OutOfMemory where one item does not fit. Any other error passes through.
    """
    return [result for part in batches(work, items, batch) for result in part]


def batches(work: Callable[[Sequence[Item]], Result], items: Sequence[Item], batch: BatchSize) -> Iterator[Result]:
    """As `in_halves`, for work that returns one result of any type per batch."""
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
    """`work(item)`; None where memory ran out, after emptying the device's cache."""
    try:
        return work(item)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not should_reduce_batch_size(error):
            raise
    clear_device_cache(garbage_collection=True)  # outside `except`: the traceback's frames refer to the batch's tensors
    return None
