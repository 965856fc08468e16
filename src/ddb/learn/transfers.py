"""Copies between host and device during which the device goes on computing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on `device`. To CUDA it is copied from pinned memory, without waiting for what is queued there."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@dataclass(frozen=True)
class OnHost:
    """A tensor's values in host memory, complete once `ready` (a CUDA event) has happened."""

    values: Tensor
    ready: torch.cuda.Event | None = None

    @staticmethod
    def of(tensor: Tensor) -> OnHost:
        """Begin to copy a tensor of any device. On CUDA the call returns at once, and the copy ends before anything
        that is queued after it begins."""
        if tensor.device.type != "cuda":
            return OnHost(tensor.cpu())
        values = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        values.copy_(tensor, non_blocking=True)
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
        ready.record()
        return OnHost(values, ready)

    @cached_property
    def array(self) -> npt.NDArray[np.generic]:
        """The values; waits for the copy."""
        if self.ready is not None:
            self.ready.synchronize()
        found: npt.NDArray[Any] = self.values.numpy()
        return found
