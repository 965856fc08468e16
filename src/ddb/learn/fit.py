"""The only training loop: L = mean weighted cross-entropy of the training batch + sum_c gamma_c x mean cross-entropy of
class c's counterfactuals (method section 7; without counterfactuals it is ERM).

Other methods put their own in three places of `Material`: `plan` (which images make up a step, mixed with which),
`mixer` (how two images are mixed) and `objective` (what each image's loss counts for, given all losses of the step).

Every epoch ends with a checkpoint that is whole or absent, and draws from its own seed, so a fit that was killed goes
on at the last epoch and ends with the very weights of an unbroken one (same device, same number of threads). Several
processes share each batch (`ddb.learn.parallel`); the first alone validates and writes.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddb.config import FitConfig
from ddb.errors import StageFailed
from ddb.learn import processes
from ddb.learn.augment import Draws, augment
from ddb.learn.batches import Batch, Rows, chunks, losses, passes, rounds
from ddb.learn.checkpoint import Progress, load_checkpoint, save_checkpoint, save_tensors
from ddb.learn.classifier import Classifier, to_tensor
from ddb.learn.device import Runtime
from ddb.learn.material import Figures as Figures
from ddb.learn.material import Images as Images
from ddb.learn.material import Material as Material
from ddb.learn.material import Objective
from ddb.learn.material import Term as Term
from ddb.learn.parallel import for_backward, of_all, own_images, own_places, shared_model, whole_batch
from ddb.learn.seeds import seed_of

log = logging.getLogger("ddb")

CHECKPOINT = "checkpoint.safetensors"
RANKING = "ranking.safetensors"
HISTORY = "fit.json"


def fit(
    classifier: Classifier, material: Material, settings: FitConfig, runtime: Runtime, seed: int, folder: Path
) -> Progress:
    """Train `classifier.model` in place and leave it with the kept epoch's weights, in eval mode.

    Goes on from the checkpoint in `folder` if there is one; the caller removes it when the result is safe. Raises
    StageFailed for a loss that is not finite (the last epoch's checkpoint stays).
    """
    model = classifier.on(runtime.device)
    parameters = _trainable(classifier, material.last_layer_only)
    optimiser = _optimiser(parameters, settings)
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.dtype == torch.float16)
    memory = material.objective.state if material.objective else {}
    progress = load_checkpoint(folder / CHECKPOINT, model, optimiser, scaler, memory) or Progress()
    learner = shared_model(classifier)
    for epoch in range(progress.epoch + 1, settings.epochs + 1):
        loss = _train_epoch(learner, material, settings, runtime, optimiser, scaler, (seed, epoch))
        model.eval()
        figures = processes.shared(material.validate(classifier) if material.validate and processes.leads() else ())
        progress = progress.after(epoch, loss, figures, model)
        if processes.leads():
            if epoch == material.rank_epoch:
                save_tensors(folder / RANKING, dict(model.state_dict()))
            save_checkpoint(folder / CHECKPOINT, model, optimiser, scaler, progress, memory)
        shown = f", {settings.selection} {figures[0]:.3f}" if figures else ""
        log.info("epoch %d/%d: loss %.4f%s", epoch, settings.epochs, loss, shown)
    model.load_state_dict(progress.best)
    model.eval()
    processes.wait()
    return progress


def _train_epoch(
    classifier: Classifier,
    material: Material,
    settings: FitConfig,
    runtime: Runtime,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    place: tuple[int, int],
) -> float:
    """One pass over the training images; the mean of the steps' losses. `place`: (seed, epoch)."""
    seed, epoch = place
    own = (processes.rank(),) if processes.rank() else ()
    torch.manual_seed(seed_of(seed, "model", epoch, *own))  # dropout and the like
    generator = torch.Generator().manual_seed(seed_of(seed, "epoch", epoch))
    classifier.model.train(not material.last_layer_only)
    batches = _batches(classifier, material, settings.batch_size, generator)
    total = torch.zeros((), dtype=torch.float64)
    for step, batch in enumerate(batches):
        rate = learning_rate(settings, epoch - 1 + step / len(batches))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = _loss(classifier, material, batch, settings, runtime, generator)
        value = processes.total(loss).item()
        if not math.isfinite(value):
            raise StageFailed(
                f"The loss is {value} at epoch {epoch}, step {step + 1}. Lower lr (now {settings.lr:g}) or use "
                f"precision fp32; the checkpoint of epoch {epoch - 1} is kept."
            )
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(scaler.scale(for_backward(loss)))
        scaler.step(optimiser)
        scaler.update()
        total += value
    return float(total / len(batches))


def _loss(
    classifier: Classifier,
    material: Material,
    batch: Sequence[Batch],
    settings: FitConfig,
    runtime: Runtime,
    generator: torch.Generator,
) -> Tensor:
    """This process's share of the loss of one step: its images go through the model in one batch, then each part has
    its own mean over the whole batch."""
    parts = [material.train, *(term.images for term in material.terms)]
    gammas = [1.0, *(term.gamma for term in material.terms)]
    sizes = [len(part.rows) for part in batch]
    own = [part.part(place) for part, place in zip(batch, own_places(sizes), strict=True)]
    images = _mixed_images(material, own, parts, generator, sizes, settings, runtime)
    with runtime.autocast(), whole_batch():
        logits = classifier.model(classifier.normalise(images)).float()
    pieces = logits.split([len(part.rows) for part in own])
    values = [losses(piece, part, images.labels) for piece, part, images in zip(pieces, own, parts, strict=True)]
    if material.objective:
        values[0] = _weighed(material.objective, batch[0].rows, pieces[0], values[0])
    scale = []  # what each image's loss is multiplied with, so that the sum is the sum of the parts' means
    for source, part, gamma, size in zip(parts, own, gammas, sizes, strict=True):
        scale.append(_weights(source, part) * np.float32(gamma / size))
    return (torch.cat(values) * torch.from_numpy(np.concatenate(scale)).to(runtime.device)).sum()


def _mixed_images(
    material: Material,
    own: Sequence[Batch],
    parts: Sequence[Images],
    generator: torch.Generator,
    sizes: Sequence[int],
    settings: FitConfig,
    runtime: Runtime,
) -> Tensor:
    """The augmented images of this process, all parts one after another: float [B, 3, S, S] in 0-255. Partners are
    augmented by draws of their own before they are mixed in."""
    pixels = np.concatenate([source.pixels[part.rows] for source, part in zip(parts, own, strict=True)])
    draws = Draws(generator, sum(sizes), own_images())
    images = augment(to_tensor(pixels, runtime.device), settings.augment, draws)
    train = own[0]
    if train.partners is None:
        return images
    partners = to_tensor(material.train.pixels[train.partners], runtime.device)
    partners = augment(partners, settings.augment, Draws(generator, sizes[0], own_images()))
    count = len(train.rows)
    return torch.cat([material.mixer(images[:count], partners, train), images[count:]])


def _weighed(objective: Objective, rows: Rows, logits: Tensor, values: Tensor) -> Tensor:
    """This process's losses [B] of the training images, each times its weight; those of M models are added up."""
    whole = [of_all(tensor.detach(), len(rows)).cpu() for tensor in (logits, values)]
    weighed = values * objective.weigh(rows, *whole)[own_images()].to(values.device)
    return weighed if weighed.dim() == 1 else weighed.sum(dim=1)


def _weights(images: Images, batch: Batch) -> npt.NDArray[np.float32]:
    weights = np.ones(len(batch.rows), np.float32) if images.weights is None else images.weights[batch.rows]
    return weights if batch.weights is None else weights * batch.weights


def _batches(
    classifier: Classifier, material: Material, batch_size: int, generator: torch.Generator
) -> list[tuple[Batch, ...]]:
    """Every part of each step of an epoch: training images as planned; a term's images in as many random rounds as the
    steps ask for."""
    everything = np.arange(len(material.train.labels))
    plan = material.plan(generator, classifier) if material.plan else passes(everything, batch_size, generator)
    drawn = [plan]
    for term in material.terms:
        rows = rounds(len(term.images.labels), len(plan) * term.batch, generator)
        drawn.append([Batch(taken) for taken in chunks(rows, term.batch, len(plan))])
    return list(zip(*drawn, strict=True))


def _trainable(classifier: Classifier, last_layer_only: bool) -> list[nn.Parameter]:
    for parameter in classifier.model.parameters():
        parameter.requires_grad_(not last_layer_only)
    for parameter in classifier.head.parameters():
        parameter.requires_grad_(True)
    return [parameter for parameter in classifier.model.parameters() if parameter.requires_grad]


def _optimiser(parameters: list[nn.Parameter], settings: FitConfig) -> torch.optim.Optimizer:
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    return torch.optim.SGD(parameters, lr=settings.lr, momentum=0.9, weight_decay=settings.weight_decay, fused=True)


def learning_rate(settings: FitConfig, epochs_done: float) -> float:
    """The rate after `epochs_done` (fractional) epochs; cosine falls from lr to 0 over the run."""
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * epochs_done / settings.epochs))


def write_history(folder: Path, progress: Progress, selection: str) -> None:
    """`fit.json`: the rule, the kept epoch, and loss and figures of every epoch."""
    facts = {"selection": selection, "kept": progress.kept, "epochs": list(progress.history)}
    (folder / HISTORY).write_text(json.dumps(facts, indent=1) + "\n")


def read_history(folder: Path) -> dict[str, Any]:
    """What `write_history` wrote."""
    facts: dict[str, Any] = json.loads((folder / HISTORY).read_text())
    return facts
