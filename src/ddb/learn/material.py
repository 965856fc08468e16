"""What a fit learns from: images, extra loss terms, and the places where a method puts its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ddb.learn.batches import Mixer, Plan, Rows, mixed
from ddb.learn.classifier import Classifier, Pixels

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


class Objective(Protocol):
    """What a training image's loss counts for: a step's loss is mean_i w_i loss_i. `state` is kept in checkpoints and
    filled from them; what the weights depend on from step to step lies there."""

    state: dict[str, Tensor]

    def weigh(self, rows: Rows, logits: Tensor, losses: Tensor) -> Tensor:
        """w, of the losses' shape: [B], or [B, M] for a model that is M models. All inputs are the whole batch's, on
        the CPU, without gradients; `logits` [B, K] or [B, M, K]."""


@dataclass(frozen=True)
class Material:
    """What a fit learns from. `validate` gives the figures of a model in eval mode (None: the last epoch is kept);
    `rank_epoch`: this epoch's weights are stored as well, in `RANKING`; `plan`: the training images of every step
    (None: all in random order, without the incomplete last batch); `mixer` mixes the pairs that a plan makes;
    `objective`: None counts every loss alike."""

    train: Images
    terms: tuple[Term, ...] = ()
    validate: Callable[[Classifier], Figures] | None = None
    last_layer_only: bool = False
    rank_epoch: int | None = None
    plan: Plan | None = None
    mixer: Mixer = mixed
    objective: Objective | None = None
