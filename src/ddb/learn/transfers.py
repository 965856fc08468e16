"""Copies between host and device during which the host does not wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

Fetched = Callable[[], npt.NDArray[Any]]
"""Waits for the end of a copy and gives its values; may be called more than once, and in another thread."""


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`; `values` itself where they are there already. To CUDA they are copied from pinned memory,
    so that the host does not wait for the device."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def fetched(values: Tensor) -> Fetched:
    """Begin to copy `values` from their device; the function that is returned waits for them and gives them as an
    array. On CUDA the host may call further operations before that."""
    if values.device.type != "cuda":
        found = values.cpu().numpy()
        return lambda: found
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.current_stream(values.device).record_event()

    def wait() -> npt.NDArray[Any]:
        copied.synchronize()
        return host.numpy()

    return wait
