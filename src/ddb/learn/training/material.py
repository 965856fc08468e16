"""The inputs of a fit: training images, extra loss terms, and the functions by which a method changes the loop."""

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
from ddb.data.preprocessing import Preprocessing
from ddb.data.stores.picture_file import Pictures
from ddb.data.stores.picture_store import picture_store
from ddb.data.stores.pixel_store import pixel_store
from ddb.data.table import Dataset
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.training.batches import Mixer, Plan, Rows, mixed

Figures = tuple[float, ...]
"""Validation figures of a model, compared from left to right; epoch selection keeps the highest. The first is the value
that the selection rule names."""


@dataclass(frozen=True)
class Images:
    """`pixels` uint8 [N, S, S, 3]: squares at the input size, for predictions (empty where there are `pictures` and
    nothing is predicted); `labels` int64 [N]; `weights` float32 [N] multiply each sample's loss (None: 1); `pictures`:
    images from which random crops are cut (None: from `pixels`)."""

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32] | None = None
    pictures: Pictures | None = None


def crops(augment: Augment) -> bool:
    """Whether training takes random crops."""
    return augment.scale != (1.0, 1.0)


def training_images(
    dataset: Dataset, samples: pa.Table, preprocessing: Preprocessing, augment: Augment, folder: Path
) -> Images:
    """The images of `samples` (records.SAMPLES): squares for predictions and, where `augment` crops, the pictures from
    which crops are cut. Both are decoded once into files of `folder`. DataError for an image that cannot be read."""
    ids = samples["id"].to_pylist()
    pictures = None
    if crops(augment):
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
    """The inputs of a fit. `validate`: figures of a model in eval mode (None: the last epoch is kept); `rank_epoch`:
    the epoch whose weights are stored in `RANKING` besides; `plan`: the training images of every step (None: all in
    random order, without the incomplete last batch); `mixer`: mixes images with their partners in the plan;
    `objective`: weights of the losses (None: all 1)."""

    train: Images
    terms: tuple[Term, ...] = ()
    validate: Callable[[Classifier], Figures] | None = None
    last_layer_only: bool = False
    rank_epoch: int | None = None
    plan: Plan | None = None
    mixer: Mixer = mixed
    objective: Objective | None = None
