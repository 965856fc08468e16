"""The only training loop: L = mean weighted cross-entropy of the training batch + sum_c gamma_c x mean cross-entropy of
class c's counterfactuals (method section 7; without counterfactuals it is ERM).

Every epoch ends with a checkpoint that is whole or absent, and draws from its own seed, so a fit that was killed goes
on at the last epoch and ends with the very weights of an unbroken one (same device, same number of threads). Several
processes share each batch (`ddb.learn.parallel`); the first alone validates and writes.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddb.config import FitConfig
from ddb.errors import StageFailed
from ddb.learn import processes
from ddb.learn.augment import Draws, augment
from ddb.learn.checkpoint import Progress, load_checkpoint, save_checkpoint, save_tensors
from ddb.learn.classifier import Classifier, Pixels, to_tensor
from ddb.learn.device import Runtime
from ddb.learn.parallel import for_backward, own_images, own_rows, shared_model, whole_batch
from ddb.learn.seeds import seed_of

log = logging.getLogger("ddb")

Figures = tuple[float, ...]
"""What selection maximises, compared from left to right; the first is the rule's own value."""


@dataclass(frozen=True)
class Images:
    """`pixels` [N, S, S, 3] uint8; `labels` int64 [N]; `weights` float32 [N] multiply each sample's loss (None: 1)."""

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Term:
    """An extra loss term: `gamma` x the mean loss of `batch` images drawn for every step."""

    images: Images
    gamma: float
    batch: int


@dataclass(frozen=True)
class Material:
    """What a fit learns from. `validate` gives the figures of a model in eval mode (None: the last epoch is kept);
    `rank_epoch`: this epoch's weights are stored as well, in `RANKING`."""

    train: Images
    terms: tuple[Term, ...] = ()
    validate: Callable[[Classifier], Figures] | None = None
    last_layer_only: bool = False
    rank_epoch: int | None = None


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
    progress = load_checkpoint(folder / CHECKPOINT, model, optimiser, scaler) or Progress()
    learner = shared_model(classifier)
    for epoch in range(progress.epoch + 1, settings.epochs + 1):
        loss = _train_epoch(learner, material, settings, runtime, optimiser, scaler, (seed, epoch))
        model.eval()
        figures = processes.shared(material.validate(classifier) if material.validate and processes.leads() else ())
        progress = progress.after(epoch, loss, figures, model)
        if processes.leads():
            if epoch == material.rank_epoch:
                save_tensors(folder / RANKING, dict(model.state_dict()))
            save_checkpoint(folder / CHECKPOINT, model, optimiser, scaler, progress)
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
    batches = _batches(material, settings.batch_size, generator)
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
    batch: Sequence[npt.NDArray[np.int64]],
    settings: FitConfig,
    runtime: Runtime,
    generator: torch.Generator,
) -> Tensor:
    """This process's share of the loss of one step: its images go through the model in one batch, then each part has
    its own mean over the whole batch."""
    parts = [material.train, *(term.images for term in material.terms)]
    sizes, batch = [len(rows) for rows in batch], own_rows(batch)
    pixels = np.concatenate([part.pixels[rows] for part, rows in zip(parts, batch, strict=True)])
    labels = np.concatenate([part.labels[rows] for part, rows in zip(parts, batch, strict=True)])
    draws = Draws(generator, sum(sizes), own_images())
    images = augment(to_tensor(pixels, runtime.device), settings.augment, draws)
    with runtime.autocast(), whole_batch():
        logits = classifier.model(classifier.normalise(images))
    losses = F.cross_entropy(logits.float(), torch.from_numpy(labels).to(runtime.device), reduction="none")
    gammas = [1.0, *(term.gamma for term in material.terms)]
    scale = []  # what each image's loss is multiplied with, so that the sum is the sum of the parts' means
    for part, rows, gamma, size in zip(parts, batch, gammas, sizes, strict=True):
        weights = np.ones(len(rows), np.float32) if part.weights is None else part.weights[rows]
        scale.append(weights * np.float32(gamma / size))
    return (losses * torch.from_numpy(np.concatenate(scale)).to(runtime.device)).sum()


def _batches(
    material: Material, batch_size: int, generator: torch.Generator
) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Rows of every part for each step of an epoch: training images once each, in random order, without the incomplete
    last batch; a term's images in as many random rounds as the steps ask for."""
    n = len(material.train.labels)
    steps = max(1, n // batch_size)
    order = torch.randperm(n, generator=generator).numpy()
    drawn = [np.array_split(order, 1) if n <= batch_size else _chunks(order, batch_size, steps)]
    for term in material.terms:
        rounds = _rounds(len(term.images.labels), steps * term.batch, generator)
        drawn.append(_chunks(rounds, term.batch, steps))
    return list(zip(*drawn, strict=True))


def _chunks(rows: npt.NDArray[np.int64], size: int, count: int) -> list[npt.NDArray[np.int64]]:
    return [rows[i * size : (i + 1) * size] for i in range(count)]


def _rounds(n: int, wanted: int, generator: torch.Generator) -> npt.NDArray[np.int64]:
    """`wanted` rows out of `n`, each as often as any other give or take one, in random order."""
    permutations = [torch.randperm(n, generator=generator) for _ in range(-(-wanted // n))]
    return torch.cat(permutations)[:wanted].numpy()


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
