"""Batches of a fixed shape, in which an item that cannot be used fails alone.

The last bits of a result depend on the shape of its batch, so every batch has the same shape: a blank replaces a
missing item. The result of an item then depends on the item, its position and the shape, and not on the other items.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch

from ddb.backends import Failed, Image
from ddb.backends.weights import reason_of
from ddb.data.images import read_image
from ddb.errors import DataError, DDBError
from ddb.learn.halving import BatchSize, in_halves

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Sequence[Result]]


@dataclass(frozen=True)
class Rooms:
    """The batch sizes of an opened model: one for each requested size, which stays lowered after memory ran out.
    `setting`: full name of the setting; `remedy`: end of the message where one item does not fit."""

    setting: str
    remedy: str
    _sizes: dict[int, BatchSize] = field(default_factory=dict)

    def of(self, size: int) -> BatchSize:
        """The batch size that is used for the requested `size`."""
        return self._sizes.setdefault(size, BatchSize(size, self.setting, self.remedy))


def read_or_failed(root: Path, path: str) -> Image | Failed:
    """The image file `path` below `root`; `Failed` with the reason where it cannot be read."""
    try:
        return read_image(root, path)
    except DataError as error:
        return Failed(str(error))


def in_fixed_batches(
    work: Work[Item, Result], items: Sequence[Item | Failed], blank: Item, room: BatchSize
) -> list[Result | Failed]:
    """Apply `work` to the items in batches of exactly `room.size`: one result per item, in order.

    An item that is `Failed` already is returned unchanged and replaced by `blank`, which also pads the last batch.
    Where `work` raises an exception of another library, the batch's items are tried one by one, and those that raise
    again become `Failed`. DDBErrors pass through. When memory runs out the batch is halved (OutOfMemory at a
    batch of one), `room` keeps the smaller size, and halves have a fixed shape too.
    """
    shaped, size = _Shaped(work, blank), room.size
    results: list[Result | Failed] = []
    for start in range(0, len(items), size):
        part = items[start : start + size]
        if all(isinstance(item, Failed) for item in part):
            results += [item for item in part if isinstance(item, Failed)]
            continue
        filled = [blank if isinstance(item, Failed) else item for item in part]
        filled += [blank] * (size - len(part))
        try:
            made: Sequence[Result | Failed] = in_halves(shaped, filled, room)
        except DDBError:
            raise
        except Exception:
            made = [_alone(shaped, filled, position, blank, room) for position in range(len(part))]
        results += [item if isinstance(item, Failed) else one for item, one in zip(part, made, strict=False)]
    return results


def not_finite(what: str, dtype: torch.dtype) -> Failed:
    """The failure of an item for which `what` ("the UNet's output") holds NaN or infinity, with the likely cause."""
    if dtype == torch.float32:
        return Failed(f"{what} is not finite: the weights may be damaged; `ddb models verify` compares them.")
    name = {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(dtype, str(dtype))
    return Failed(
        f"{what} is not finite: it may overflow in {name} (set precision fp32, or bf16), or the weights are damaged "
        "(`ddb models verify`)."
    )


def first_fault(checks: Sequence[tuple[str, torch.dtype, torch.Tensor | None]], row: int) -> Failed | None:
    """The failure of a batch's row: the first of the tensors [B, ...], each with its name and the precision that it was
    computed in, that is not finite there. None where all are; a tensor that is None is skipped."""
    for what, dtype, tensor in checks:
        if tensor is not None and not bool(tensor[row].isfinite().all()):
            return not_finite(what, dtype)
    return None


class _Shaped(Generic[Item, Result]):
    """`work`, with a smaller last batch padded to the size of the batches before it."""

    def __init__(self, work: Work[Item, Result], blank: Item) -> None:
        self.work, self.blank, self.size = work, blank, 0

    def __call__(self, batch: Sequence[Item]) -> Sequence[Result]:
        self.size = max(self.size, len(batch))
        try:
            return self.work([*batch, *[self.blank] * (self.size - len(batch))])[: len(batch)]
        except Exception:
            self.size = len(batch) // 2  # the size that `in_halves` tries next, where memory ran out
            raise


def _alone(
    work: Work[Item, Result], batch: Sequence[Item], position: int, blank: Item, room: BatchSize
) -> Result | Failed:
    """The result of one item of a batch, computed at its position with blanks at all others."""
    filled = [item if number == position else blank for number, item in enumerate(batch)]
    try:
        return in_halves(work, filled, room)[position]
    except DDBError:
        raise
    except Exception as error:
        return Failed(f"{type(error).__name__}: {reason_of(error)}", traceback.format_exc())
