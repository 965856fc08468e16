"""What every stage of a run shares: its `Context`, and the `Models` that its stages open."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ddb.data.table import Dataset

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The inputs that all stages of a run share besides their own settings.

    `dataset`: the samples without attributes; `seed`: of the run; `device` and `precision`: the settings of these names
    (`ddb.learn.device.open_accelerator` resolves them); `cache`: the folder of decoded pixels.
    """

    dataset: Dataset
    seed: int
    device: str
    precision: str
    cache: Path


class Models:
    """Models of a run: each opened once, closed when no later stage needs it. Made by whoever runs stages.

    Not for several threads at once.
    """

    def __init__(self) -> None:
        self._opened: dict[str, Any] = {}

    def open(self, name: str, load: Callable[[], T]) -> T:
        """The model of this name; `load()` is called the first time that the name is asked for. Its errors pass
        through, and the next call tries again. Equal names have to mean equal models."""
        if name not in self._opened:
            self._opened[name] = load()
        model: T = self._opened[name]
        return model

    def keep(self, names: Collection[str]) -> None:
        """Drop all models except those of these names, and release the accelerator's memory. Names that were never
        opened are ignored. A model stays in memory as long as a caller refers to it."""
        gone = self._opened.keys() - set(names)
        for name in gone:
            del self._opened[name]
        if gone:
            gc.collect()  # modules in reference cycles
            empty_device_cache()


def empty_device_cache() -> None:
    """Release unused memory of the CUDA allocator to the device. No effect where torch was not imported or has not used
    CUDA."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
