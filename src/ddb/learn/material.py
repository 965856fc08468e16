"""What a fit learns from: images, extra loss terms, and the places where a method puts its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Tensor

from ddb.config import Augment
from ddb.data.picture_file import Pictures
from ddb.data.picture_store import picture_store
from ddb.data.pixel_store import pixel_store
from ddb.data.preprocessing import Preprocessing
from ddb.data.table import Dataset
from ddb.learn.batches import Mixer, Plan, Rows, mixed
from ddb.learn.classifier import Classifier, Pixels

Figures = tuple[float, ...]
"""What selection maximises, compared from left to right; the first is the rule's own value."""


@dataclass(frozen=True)
class Images:
    """`pixels` uint8 [N, S, S, 3]: the squares that predictions are made of; `labels` int64 [N]; `weights` float32 [N]
    multiply each sample's loss (None: 1); `pictures`: what random crops are taken from (None: from `pixels`)."""

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32] | None = None
    pictures: Pictures | None = None


def training_images(
    dataset: Dataset, samples: pa.Table, preprocessing: Preprocessing, augment: Augment, folder: Path
) -> Images:
    """Samples (records.SAMPLES) to learn from: squares of all of them for predictions and, where `augment` crops, the
    pictures that the crops are taken from. Both are decoded once, into files of `folder`; DataError as the stores."""
    ids = samples["id"].to_pylist()
    pictures = None
    if augment.scale != (1.0, 1.0):
        pictures = picture_store(dataset, ids, preprocessing, augment.scale[0], folder)
    labels = samples["label"].to_numpy().astype(np.int64)
    return Images(pixel_store(dataset, ids, preprocessing, folder), labels, pictures=pictures)


@dataclass(frozen=True)
class Term:
    """An extra loss term: `gamma` x the mean loss of `batch` images drawn for every step."""

    images: Images
    gamma: float
    batch: int


class Objective(Protocol):
    """Weights of the training images' losses: the loss of a step is mean_i w_i loss_i.

    `state` holds the tensors that a step's weights depend on besides the step itself, such as the group weights of the
    last step. It is stored in checkpoints, so that a resumed fit continues with them.
    """

    state: dict[str, Tensor]

    def weigh(self, rows: Rows, logits: Tensor, losses: Tensor) -> Tensor:
        """The weights w of one step, of the shape of `losses`: float [B], or [B, M] where the model puts out the logits
        of M models. Called once a step. `rows` int64 [B] and `logits` float [B, K] or [B, M, K] are those of the whole
        batch, on the CPU, without gradients."""


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
