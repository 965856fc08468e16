"""The only training loop: L = mean weighted cross-entropy of the training batch + sum_c gamma_c x mean cross-entropy of
class c's counterfactuals (method section 7; without counterfactuals it is ERM).

A method changes the loop through three fields of `Material`: `plan` (the images of each step and their partners for
mixing), `mixer` (how two images are mixed) and `objective` (the weight of each image's loss, from all losses of the
step).

Every epoch has its own seed and ends with a checkpoint that is written atomically. A fit that was killed resumes after
the last finished epoch and ends with bit-identical weights on the same device with the same number of threads. Several
processes share each batch (`ddb.learn.training.parallel`); only the process of rank 0 validates and writes.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ddb.config import FitConfig
from ddb.errors import StageFailed
from ddb.learn import cores, processes
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize
from ddb.learn.seeds import seed_of
from ddb.learn.training.batches import Batch, chunks, passes, rounds
from ddb.learn.training.checkpoint import FitState, load_checkpoint, save_checkpoint, save_tensors
from ddb.learn.training.feed import Feed, open_feed
from ddb.learn.training.material import Figures as Figures
from ddb.learn.training.material import Images as Images
from ddb.learn.training.material import Material as Material
from ddb.learn.training.material import Term as Term
from ddb.learn.training.parallel import shared_model
from ddb.learn.training.step import Training, put_gradients

log = logging.getLogger("ddb")

CHECKPOINT = "checkpoint.safetensors"
RANKING = "ranking.safetensors"
HISTORY = "fit.json"
CHECKED = 10
"""Steps after which their losses are read from the device, which makes the host wait for it."""


def fit(
    classifier: Classifier, material: Material, settings: FitConfig, runtime: Runtime, seed: int, folder: Path
) -> FitState:
    """Train `classifier.model` in place and leave it with the kept epoch's weights, in eval mode.

    Resumes from the checkpoint in `folder` if there is one; the caller removes it once the result is stored. Raises
    StageFailed for a loss that is not finite (found within `CHECKED` steps; the last epoch's checkpoint stays),
    DataError for a picture that cannot be read, OutOfMemory where a step does not fit into memory and cannot be
    computed in parts (`put_gradients`), ModelError for a damaged checkpoint.
    """
    model = classifier.on(runtime.device)
    parameters = _trainable(classifier, material.last_layer_only)
    optimiser = _optimiser(parameters, settings)
    scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.dtype == torch.float16)
    memory = material.objective.state if material.objective else {}
    state = load_checkpoint(folder / CHECKPOINT, model, optimiser, scaler, memory) or FitState()
    room = BatchSize(sys.maxsize, "batch_size", "take a smaller erm.image_size or erm.backbone, or precision bf16")
    training = Training(shared_model(classifier), material, settings, runtime, scaler, room)
    with open_feed(material, settings.augment, classifier.image_size, runtime.device) as feed:
        for epoch in range(state.epoch + 1, settings.epochs + 1):
            loss = _train_epoch(training, feed, optimiser, seed, epoch)
            model.eval()
            figures = processes.shared(material.validate(classifier) if material.validate and processes.leads() else ())
            state = state.after(epoch, loss, figures, model)
            if processes.leads():
                if epoch == material.rank_epoch:
                    save_tensors(folder / RANKING, dict(model.state_dict()))
                save_checkpoint(folder / CHECKPOINT, model, optimiser, scaler, state, memory)
            shown = f", {settings.selection} {figures[0]:.3f}" if figures else ""
            log.info("epoch %d/%d: loss %.4f%s", epoch, settings.epochs, loss, shown)
    model.load_state_dict(state.best)
    model.eval()
    processes.wait()
    return state


def _train_epoch(training: Training, feed: Feed, optimiser: torch.optim.Optimizer, seed: int, epoch: int) -> float:
    """Train for one epoch; returns the mean of the steps' losses."""
    classifier, material, settings = training.classifier, training.material, training.settings
    own = (processes.rank(),) if processes.rank() else ()
    torch.manual_seed(seed_of(seed, "model", epoch, *own))  # for dropout and other random layers
    generator = torch.Generator().manual_seed(seed_of(seed, "epoch", epoch))
    classifier.model.train(not material.last_layer_only)
    batches = _batches(classifier, material, settings.batch_size, generator)
    began, unread, total = cores.usage(), list[Tensor](), 0.0
    for step, inputs in enumerate(feed.inputs(batches, generator), 1):
        rate = learning_rate(settings, epoch - 1 + (step - 1) / len(batches))
        for group in optimiser.param_groups:
            group["lr"] = rate
        unread.append(put_gradients(training, inputs))
        training.scaler.step(optimiser)
        training.scaler.update()
        if len(unread) == CHECKED or step == len(batches):
            for value in _finite(unread, step - len(unread), epoch, settings):
                total += value
            unread.clear()
        if step == CHECKED and epoch == 1 and feed.device.type == "cpu":
            _advise(began)
    return total / len(batches)


def _finite(losses: list[Tensor], before: int, epoch: int, settings: FitConfig) -> list[float]:
    """The losses of the steps that follow the first `before` ones, read from the device. StageFailed where one is not
    finite."""
    values: list[float] = torch.stack(losses).tolist()
    for step, value in enumerate(values, before + 1):
        if not math.isfinite(value):
            raise StageFailed(
                f"The loss is {value} at epoch {epoch}, step {step}. Lower lr (now {settings.lr:g}) or use "
                f"precision fp32; the checkpoint of epoch {epoch - 1} is kept."
            )
    return values


def _advise(began: cores.Usage | None) -> None:
    """Log where this process's threads have to share their cores."""
    if words := cores.advice(began, cores.usage(), torch.get_num_threads()):
        log.warning(words)


def _batches(
    classifier: Classifier, material: Material, batch_size: int, generator: torch.Generator
) -> list[tuple[Batch, ...]]:
    """The batches of each step of an epoch: the training images by the plan, then for each term `batch` of its images,
    drawn in random order until all were used, then again."""
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
    """The learning rate after `epochs_done` (fractional) epochs; schedule "cosine" decays it from lr to 0."""
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * epochs_done / settings.epochs))


def write_history(folder: Path, state: FitState, selection: str) -> None:
    """Write `fit.json` into `folder`: the rule of epoch selection, the kept epoch, loss and figures of every epoch."""
    facts = {"selection": selection, "kept": state.kept, "epochs": list(state.history)}
    (folder / HISTORY).write_text(json.dumps(facts, indent=1) + "\n")


def read_history(folder: Path) -> dict[str, Any]:
    """The facts that `write_history` wrote: keys `selection`, `kept` and `epochs`."""
    facts: dict[str, Any] = json.loads((folder / HISTORY).read_text())
    return facts
