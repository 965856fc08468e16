"""Work in batches that shrink when memory runs out: one place for it, for everything whose item n depends on item n
alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from ddb.errors import DDBError

Item = TypeVar("Item")
Result = TypeVar("Result")

_fits: dict[str, int] = {}
"""Setting -> largest batch that fitted after memory ran out, for the rest of the process."""


class OutOfMemory(DDBError):
    """Even one item does not fit into memory: the message says what to lower."""


def in_halves(
    work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], size: int, setting: str, remedy: str
) -> list[Result]:
    """`work` over the items in batches of at most `size`: one result an item, in order.

    When memory runs out in a batch, it is halved until it fits; what was computed before is kept, and `setting` (its
    full name, "inpaint.batch_size") keeps the smaller size for the rest of the process. OutOfMemory at a batch of one;
    `remedy` ends its message: "lower inpaint.image_size". Any other error passes through.
    """
    return [result for batch in batches(work, items, size, setting, remedy) for result in batch]


def batches(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], size: int, setting: str, remedy: str
) -> Iterator[Result]:
    """The same for work with one result a batch, of any kind."""
    done = 0
    while done < len(items):
        batch = items[done : done + min(size, _fits.get(setting, size))]
        result = _tried(work, batch)
        if result is not None:
            yield result
            done += len(batch)
        elif len(batch) == 1:
            raise OutOfMemory(f"out of memory with {setting} 1: {remedy}.")
        else:
            _fits[setting] = len(batch) // 2


def _tried(work: Callable[[Sequence[Item]], Result], batch: Sequence[Item]) -> Result | None:
    """The batch's result, or None where memory ran out."""
    try:
        return work(batch)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not should_reduce_batch_size(error):
            raise
    clear_device_cache(garbage_collection=True)  # after the except block: the error's frames held the batch's tensors
    return None
