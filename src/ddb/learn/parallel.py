"""One training step over several processes: each has a share of the batch, and the step is that of the whole batch.

Gradients are summed (torch's DistributedDataParallel), and batch normalisation sees the images of all processes, so the
result is that of one process at the same batch size, up to the order of sums. What a model draws itself (dropout) is
drawn by each process for its own images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from ddb.learn import processes
from ddb.learn.classifier import Classifier


def shared_model(classifier: Classifier) -> Classifier:
    """The classifier whose backward pass sums gradients over the processes; itself with one process.

    Its parameters are those of `classifier`, made equal in all processes."""
    if processes.count() == 1:
        return classifier
    model: Any = DistributedDataParallel(classifier.model)
    return replace(classifier, model=model)


def own_places(sizes: Sequence[int]) -> list[slice]:
    """Where this process's images stand in each part of a batch: every n-th of all of them."""
    number, step, start, own = processes.rank(), processes.count(), 0, []
    for size in sizes:
        own.append(slice((number - start) % step, None, step))
        start += size
    return own


def of_all(values: Tensor, total: int) -> Tensor:
    """The values [B, ...] of the first part's `total` images in all processes, from each one's own."""
    if processes.count() == 1:
        return values
    everything = values.new_zeros((total, *values.shape[1:]))
    everything[own_images()] = values
    return processes.total(everything)


def own_images() -> slice:
    """Where this process's images stand in the whole batch."""
    return slice(processes.rank(), None, processes.count())


def for_backward(loss: Tensor) -> Tensor:
    """A share of a summed loss, scaled so that the mean of gradients that torch takes is their sum."""
    return loss if processes.count() == 1 else loss * processes.count()


@contextmanager
def whole_batch() -> Iterator[None]:
    """Batch normalisation inside uses the images of all processes; nothing changes with one process."""
    if processes.count() == 1:
        yield
        return
    with _WholeBatch():
        yield


class _WholeBatch(TorchFunctionMode):
    """Puts `_batch_norm` in place of torch's, so that any module that calls it is served as it is: torch's own
    SyncBatchNorm works on GPUs alone, and wants other modules."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """torch.nn.functional.batch_norm with the statistics of the batches [B, C, ...] of all processes."""
    if not training:
        plain: Tensor = F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return plain
    over = [dim for dim in range(input.dim()) if dim != 1]
    shape = [1, -1] + [1] * (input.dim() - 2)
    values = input.float()
    number = processes.total(values.new_tensor(values.numel() / values.shape[1]))
    mean = _Sum.apply(values.sum(over)) / number
    centred = values - mean.view(shape)
    variance = _Sum.apply((centred * centred).sum(over)) / number
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * number / (number - 1)).to(running_var.dtype), momentum)
    result = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    if bias is not None:
        result = result + bias.view(shape)
    normalised: Tensor = result.to(input.dtype)
    return normalised


class _Sum(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(_context: Any, *gradients: Any) -> Any:
        return _summed(gradients[0])


def _summed(value: Tensor) -> Tensor:
    result = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result)
    return result
