"""The rows of every training step of an epoch, and the mixing of their images with other images.

All random numbers are drawn for the whole batch from one CPU generator; each process then takes its share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ddb.learn.classifier import Classifier
from ddb.learn.transfers import sent

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """The images of one loss term in one step: `rows` int64 [B]; `weights` float32 [B] multiply their losses (None: 1).

    With `partners` int64 [B] every image is mixed with the image of its partner row: pixels and label are `share` of
    the image's own (float32 [B] in [0, 1]) and 1 - `share` of the partner's. With `boxes` int64 [B, 4] (top, left,
    bottom, right) the pixels are the partner's inside the box and the image's own outside. With `own_labels` the label
    is not mixed.
    """

    rows: Rows
    weights: npt.NDArray[np.float32] | None = None
    partners: Rows | None = None
    share: npt.NDArray[np.float32] | None = None
    boxes: npt.NDArray[np.int64] | None = None
    own_labels: bool = False

    def part(self, positions: slice) -> Batch:
        """The images at these positions of the batch."""
        arrays = (self.rows, self.weights, self.partners, self.share, self.boxes)
        rows, weights, partners, share, boxes = (None if values is None else values[positions] for values in arrays)
        assert rows is not None
        return Batch(rows, weights, partners, share, boxes, self.own_labels)  # type: ignore[arg-type]


Plan = Callable[[torch.Generator, Classifier], list[Batch]]
"""(generator of the epoch, model after the last epoch) -> the steps of the epoch."""

Mixer = Callable[[Tensor, Tensor, Batch], Tensor]
"""(images, their partners' images, batch) -> the model's input: float [B, 3, S, S] in 0-255."""


def passes(rows: Rows, batch_size: int, generator: torch.Generator, *, whole: bool = False) -> list[Batch]:
    """Every entry of `rows` once, in random order. The incomplete last batch is left out. With `whole` all rows are
    used, in batches whose sizes differ by at most 1."""
    order = rows[torch.randperm(len(rows), generator=generator).numpy()]
    if len(rows) <= batch_size:
        return [Batch(order)]
    if whole:
        return [Batch(taken) for taken in np.array_split(order, -(-len(rows) // batch_size))]
    return [Batch(taken) for taken in chunks(order, batch_size, len(rows) // batch_size)]


def drawn(weights: npt.NDArray[np.float64], batch_size: int, generator: torch.Generator) -> list[Batch]:
    """As many steps as one pass over N images has. Rows are drawn with replacement, with probabilities proportional to
    `weights` [N]."""
    steps = max(1, len(weights) // batch_size)
    size = min(batch_size, len(weights))
    rows = torch.multinomial(torch.from_numpy(weights), steps * size, replacement=True, generator=generator).numpy()
    return [Batch(taken) for taken in chunks(rows, size, steps)]


def rounds(n: int, wanted: int, generator: torch.Generator) -> Rows:
    """`wanted` of the rows 0..n-1 in random order: int64 [wanted]. The numbers of times that two rows occur differ by
    at most 1."""
    permutations = [torch.randperm(n, generator=generator) for _ in range(-(-wanted // n))]
    return torch.cat(permutations)[:wanted].numpy()


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """A numpy generator, for distributions that torch lacks (Beta), seeded with a number drawn from `generator`."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def chunks(rows: Rows, size: int, count: int) -> list[Rows]:
    """The first `count` pieces of `size` rows."""
    return [rows[i * size : (i + 1) * size] for i in range(count)]


def mixed(images: Tensor, partners: Tensor, batch: Batch) -> Tensor:
    """Mixup by `share` (Zhang et al. 2018), or CutMix where the batch has `boxes` (Yun et al. 2019): float
    [B, 3, S, S]."""
    if batch.boxes is None:
        share = sent(torch.from_numpy(_share(batch)), images.device).view(-1, 1, 1, 1)
        return share * images + (1 - share) * partners
    top, left, bottom, right = sent(torch.from_numpy(batch.boxes), images.device).view(-1, 4, 1, 1).unbind(1)
    y = torch.arange(images.shape[2], device=images.device).view(1, -1, 1)
    x = torch.arange(images.shape[3], device=images.device).view(1, 1, -1)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return torch.where(inside.unsqueeze(1), partners, images)


def losses(logits: Tensor, batch: Batch, labels: npt.NDArray[np.int64]) -> Tensor:
    """Cross-entropy of a batch, `labels` int64 [N] of all rows: logits [B, K] -> [B]; [B, M, K] of M models -> [B, M].

    The cross-entropy of a mixed label is the mean of the cross-entropies of both labels, weighted by `share`.
    """
    own = _cross_entropy(logits, labels[batch.rows])
    if batch.partners is None or batch.own_labels:
        return own
    share = sent(torch.from_numpy(_share(batch)), own.device).view(-1, *[1] * (own.dim() - 1))
    return share * own + (1 - share) * _cross_entropy(logits, labels[batch.partners])


def _cross_entropy(logits: Tensor, labels: npt.NDArray[np.int64]) -> Tensor:
    target = sent(torch.from_numpy(labels), logits.device)
    if logits.dim() == 2:
        return F.cross_entropy(logits, target, reduction="none")
    models = logits.shape[1]
    return F.cross_entropy(logits.transpose(1, 2), target[:, None].expand(-1, models), reduction="none")


def _share(batch: Batch) -> npt.NDArray[np.float32]:
    assert batch.share is not None, "a batch with partners has shares"
    return batch.share
