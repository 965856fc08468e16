"""One training step over several processes, each with a share of the batch.

Gradients are summed (torch's DistributedDataParallel), and batch normalisation uses the statistics of the whole batch,
so the result equals that of one process at the same batch size, up to the order of sums. Random layers of the model
(dropout) draw in each process for its own images.
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
    """The classifier wrapped in DistributedDataParallel, with the same parameters, made equal in all processes; with
    one process `classifier` itself."""
    if processes.count() == 1:
        return classifier
    model: Any = DistributedDataParallel(classifier.model)
    return replace(classifier, model=model)


def own_positions(sizes: Sequence[int]) -> list[slice]:
    """Positions of this process's images within each loss term's batch of these sizes: of all images of the step, one
    after another, every n-th for n processes."""
    number, step, start, own = processes.rank(), processes.count(), 0, []
    for size in sizes:
        own.append(slice((number - start) % step, None, step))
        start += size
    return own


def of_all(values: Tensor, total: int) -> Tensor:
    """The values [total, ...] of the whole training batch, gathered from each process's own values [b, ...]."""
    if processes.count() == 1:
        return values
    everything = values.new_zeros((total, *values.shape[1:]))
    everything[own_images()] = values
    return processes.total(everything)


def own_images() -> slice:
    """Positions of this process's images in the whole batch."""
    return slice(processes.rank(), None, processes.count())


def for_backward(loss: Tensor) -> Tensor:
    """This process's share of a summed loss, scaled so that DistributedDataParallel's mean of gradients is their
    sum."""
    return loss if processes.count() == 1 else loss * processes.count()


@contextmanager
def whole_batch() -> Iterator[None]:
    """Inside this context batch normalisation uses the images of all processes; no effect with one process."""
    if processes.count() == 1:
        yield
        return
    with _WholeBatch():
        yield


class _WholeBatch(TorchFunctionMode):
    """Replaces calls of `F.batch_norm` by `_batch_norm`, so that the model's modules stay as they are. (SyncBatchNorm
    works only on GPUs and replaces the modules.)"""

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
    number = processes.total(values.new_full((), values.numel() / values.shape[1]))
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
    """The sum over processes; its backward pass sums the gradients over processes."""

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
