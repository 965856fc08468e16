"""The gradient of one training step: augment the images, one forward and backward pass; several smaller passes where
memory runs out. Nothing here makes the host wait for the device, unless a method's objective or mixer does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ddb.config import FitConfig
from ddb.learn import processes
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, OutOfMemory, tried
from ddb.learn.training.batches import losses
from ddb.learn.training.feed import Inputs
from ddb.learn.training.material import Material, Objective
from ddb.learn.training.parallel import for_backward, of_all, own_images, whole_batch
from ddb.learn.transfers import sent


@dataclass(frozen=True)
class Training:
    """Inputs that all steps of a fit share. `room`: number of images in one pass through the model."""

    classifier: Classifier
    material: Material
    settings: FitConfig
    runtime: Runtime
    scaler: torch.amp.GradScaler
    room: BatchSize


@dataclass(frozen=True)
class Step:
    """This process's share of a step: B images of all loss terms, one term after another. `images` float [B, 3, S, S]
    in 0-255; `scale` float32 [B]; both on the device; `inputs`: the rows."""

    images: Tensor
    scale: Tensor
    inputs: Inputs


def put_gradients(training: Training, inputs: Inputs) -> Tensor:
    """Compute the gradient of a step's loss, times the scaler's factor, into the parameters' `grad`; returns the loss,
    summed over all processes: float32 [] on the device.

    A batch that does not fit into memory is halved, and the gradients of the halves are summed. That is the same
    gradient, since every image's loss depends on that image alone. OutOfMemory where one image does not fit, and where
    a batch cannot be halved: with batch normalisation in training mode, or where several processes share it.
    """
    step, objective = _step(training, inputs), training.material.objective
    before = {name: value.clone() for name, value in objective.state.items()} if objective else {}
    while True:
        loss = tried(lambda size: _backward(training, step, size), training.room.size)
        if loss is not None:
            return loss
        _require_independent(training.classifier, len(step.images))
        training.room.halve(min(training.room.size, len(step.images)))
        if objective:
            objective.state.clear()
            objective.state.update(before)


def _require_independent(classifier: Classifier, count: int) -> None:
    """OutOfMemory where a step of `count` images cannot be computed in parts."""
    normalised = any(isinstance(module, _BatchNorm) and module.training for module in classifier.model.modules())
    if not normalised and processes.count() == 1:
        return
    why = "its batch normalisation needs all of them at once" if normalised else "several processes share them"
    raise OutOfMemory(
        f"training ran out of memory with {count} images in a step, and {why}: lower batch_size or generated_batch, "
        "take a smaller erm.image_size or erm.backbone, or set precision bf16."
    )


def _step(training: Training, inputs: Inputs) -> Step:
    inputs.wait()
    images = inputs.squares.augmented()
    if inputs.partners is not None:
        train = inputs.parts[0]
        count = len(train.rows)
        mixed = training.material.mixer(images[:count], inputs.partners.augmented(), train)
        images = torch.cat([mixed, images[count:]])
    return Step(images, sent(inputs.scale, images.device), inputs)


def _backward(training: Training, step: Step, size: int) -> Tensor:
    """Accumulate the step's gradients in passes of at most `size` images; returns its loss."""
    count, objective = len(step.images), training.material.objective
    passes = [slice(start, min(start + size, count)) for start in range(0, count, size)] or [slice(0, 0)]
    training.classifier.model.zero_grad(set_to_none=True)
    weights = _weights_before(training, step, passes, objective) if objective and len(passes) > 1 else None
    total = torch.zeros((), device=step.images.device)
    for own in passes:
        logits = _logits(training, step, own)
        values = _losses(step, logits, own.start)
        if objective:
            factors = _weigh(objective, step, logits, values[0]) if weights is None else weights[own][: len(values[0])]
            weighed = values[0] * sent(factors, logits.device)
            values[0] = weighed if weighed.dim() == 1 else weighed.sum(dim=1)  # over the models
        loss = (torch.cat(values) * step.scale[own]).sum()
        total += processes.total(loss.detach())
        torch.autograd.backward(training.scaler.scale(for_backward(loss)))
    return total


@torch.no_grad()
def _weights_before(training: Training, step: Step, passes: Sequence[slice], objective: Objective) -> Tensor:
    """The objective's weights of a step of several passes, from a forward pass over all images. The state of torch's
    generators is restored, so that the passes that follow draw the same random numbers (dropout)."""
    device = training.runtime.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        logits = torch.cat([_logits(training, step, own) for own in passes])
    return _weigh(objective, step, logits, _losses(step, logits, 0)[0])


def _weigh(objective: Objective, step: Step, logits: Tensor, values: Tensor) -> Tensor:
    """The weights of this process's training images, from the logits and losses of the whole batch."""
    whole = [of_all(tensor.detach(), len(step.inputs.rows)).cpu() for tensor in (logits[: len(values)], values)]
    return objective.weigh(step.inputs.rows, *whole)[own_images()]


def _logits(training: Training, step: Step, own: slice) -> Tensor:
    classifier = training.classifier
    with training.runtime.autocast(), whole_batch():
        logits: Tensor = classifier.model(classifier.normalise(step.images[own])).float()
    return logits


def _losses(step: Step, logits: Tensor, start: int) -> list[Tensor]:
    """For each loss term the losses [b] (or [b, M]) of its images among those at `start`, `start` + 1, ..., whose
    logits are given."""
    found, first = [], 0
    for part, source in zip(step.inputs.parts, step.inputs.sources, strict=True):
        low, high = (min(max(first, at), first + len(part.rows)) for at in (start, start + len(logits)))
        here = part.part(slice(low - first, high - first))
        found.append(losses(logits[low - start : high - start], here, source.labels))
        first += len(part.rows)
    return found
