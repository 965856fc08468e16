"""JTT, Just Train Twice (Liu et al., ICML 2021, algorithm 1; code: anniesch/jtt).

1. ERM for T epochs, with the second phase's learning rate and weight decay. E: the training images that it
   misclassifies.
2. A fresh pretrained model is trained on the training images and lambda extra copies of each image of E.

Where paper and code differ:
- E. The paper uses the predictions of the model after T epochs. The code, which produced the paper's figures, uses the
  predictions made *during* epoch T, in training mode, between updates (train.py logs them, process_training.py reads
  them). Default: during; `errors: after` uses the model after T epochs, in eval mode.
- lambda. In the paper an image of E occurs lambda times, in the code 1 + lambda times. Default: as the code.
The code counts epochs from 0: its final_epoch 60 is T = 61 here.
"""

from __future__ import annotations

import logging
import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ddb.config import FitConfig
from ddb.learn.predict import logits as predicted_logits
from ddb.learn.training.batches import Plan, Rows, passes
from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import train

log = logging.getLogger("ddb")


class JTTSettings(TrainingSettings):
    first_epochs: int | None = Field(
        None, ge=1, description="T; empty: a fifth of the shared epochs (Waterbirds 61 of 300; CelebA 2 of 50)"
    )
    extra_copies: int = Field(
        100,
        ge=-1,
        description="lambda (Waterbirds 100, CelebA 50; the code tries 20, 50, 100); -1: as many as balance E with "
        "the rest (its --up_weight -1)",
    )
    errors: Literal["during", "after"] = Field(
        "during", description="predictions made in epoch T (code), or by the model after it (paper)"
    )
    budget_of: Literal["epochs", "images"] = Field(
        "epochs",
        description="second phase: the shared number of epochs of the grown set (paper), or as many of them as the "
        "shared number of images allows (ours)",
    )


class Recorder:
    """An objective with all weights 1. `state["wrong"]` uint8 [N]: 1 for images that were misclassified in the last
    step that they were in."""

    def __init__(self, labels: Rows) -> None:
        self.labels = torch.from_numpy(labels)
        self.state: dict[str, Tensor] = {"wrong": torch.zeros(len(labels), dtype=torch.uint8)}

    def weigh(self, rows: Rows, logits: Tensor, losses: Tensor) -> Tensor:
        self.state["wrong"][rows] = (logits.argmax(dim=1) != self.labels[rows]).to(torch.uint8)
        return torch.ones_like(losses)


def grown(count: int, errors: Rows, extra_copies: int) -> Rows:
    """The rows of an epoch of phase 2: each of 0..count-1 once, and each of `errors` `extra_copies` times more."""
    return np.concatenate([np.arange(count), np.repeat(errors, extra_copies)])


def balancing_copies(count: int, errors: int) -> int:
    """Number of extra copies for the code's --up_weight -1: int((N - |E|) / |E|) - 1."""
    return max(0, (count - errors) // errors - 1)


def every_row(rows: Rows, batch_size: int, *, whole: bool = False) -> Plan:
    """A plan of all `rows` in random order; `whole` as in `learn.batches.passes`."""
    return lambda generator, _classifier: passes(rows, batch_size, generator, whole=whole)


def find_errors(problem: Problem, budget: FitConfig, settings: JTTSettings) -> Rows:
    """Phase 1: the rows of E, from the last epoch, whatever the selection rule."""
    labels = problem.train.labels
    epochs = settings.first_epochs or math.ceil(budget.epochs / 5)
    recorder = Recorder(labels)
    plan = every_row(np.arange(len(labels)), budget.batch_size, whole=True)
    material = Material(problem.train, plan=plan, objective=recorder)
    first = train(problem, problem.start(), material, budget.model_copy(update={"epochs": epochs}), "first").classifier
    if settings.errors == "during":
        return np.flatnonzero(recorder.state["wrong"].numpy())
    outputs = predicted_logits(first.classifier, problem.train.pixels, problem.runtime.exact(), problem.batch)
    return np.flatnonzero(outputs.argmax(axis=1) != labels)


def fit_jtt(problem: Problem, settings: JTTSettings) -> Fitted:
    budget, count = settings.budget(problem.fit), len(problem.train.labels)
    errors = find_errors(problem, budget, settings)
    if not len(errors):
        log.warning("JTT: the first model gets every training image right, so the second is plain ERM.")
    copies = settings.extra_copies
    if copies < 0:
        copies = balancing_copies(count, len(errors)) if len(errors) else 0
    rows = grown(count, errors, copies)
    if settings.budget_of == "images":
        budget = budget.model_copy(update={"epochs": max(1, budget.epochs * count // len(rows))})
    material = Material(problem.train, validate=problem.validate(), plan=every_row(rows, budget.batch_size))
    facts = {"errors": len(errors), "extra_copies": copies}
    return train(problem, problem.start(), material, budget, "second", facts)


RIVAL = Rival(
    name="jtt",
    title="JTT",
    uses=frozenset({"val_groups"}),
    settings=JTTSettings,
    grid=tuple({"extra_copies": copies, "budget_of": "images"} for copies in (-1, 20, 50, 100)),
    fit=fit_jtt,
)
