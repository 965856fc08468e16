"""Logits, probabilities and features of a trained classifier, in eval mode and in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddb.learn.classifier import Classifier, Pixels, to_tensor
from ddb.learn.device import Runtime
from ddb.learn.transfers import Fetched, fetched

Array = TypeVar("Array", bound=npt.NDArray[Any])
Floats = npt.NDArray[np.float32]


def logits(classifier: Classifier, pixels: Pixels, runtime: Runtime, batch_size: int) -> Floats:
    """uint8 [N, S, S, 3] -> float32 [N, K], N > 0, in the runtime's precision; use `runtime.exact()` where small
    differences matter.

    Every batch has exactly `batch_size` images: the last is padded with zeros, whose outputs are dropped. So an image's
    logits are bit-identical whatever other images are in the call. A row of the result may hold NaN or infinity
    (`learn.finite`); other rows are not affected.
    """
    return np.concatenate(list(_outputs(classifier, pixels, runtime, batch_size)))


@torch.no_grad()
def _outputs(classifier: Classifier, pixels: Pixels, runtime: Runtime, batch_size: int) -> Iterator[Floats]:
    """The logits of each batch [b, K]. The next batch is read and sent before those of a batch are waited for."""
    model = classifier.on(runtime.device).eval()
    waiting: list[Fetched] = []
    for start in range(0, len(pixels), batch_size):
        own = pixels[start : start + batch_size]
        images = to_tensor(filled_up(own, batch_size), runtime.device)
        with runtime.autocast():
            outputs = model(classifier.normalise(images))[: len(own)]
        waiting.append(fetched(outputs.float()))
        if len(waiting) == 2:
            yield waiting.pop(0)()
    for last in waiting:
        yield last()


def filled_up(rows: Array, count: int) -> Array:
    """An array [n, ...] padded with zeros to `count` rows; `rows` itself where n >= count."""
    if len(rows) >= count:
        return rows
    whole = np.zeros((count, *rows.shape[1:]), rows.dtype)
    whole[: len(rows)] = rows
    return whole  # type: ignore[return-value]


def features(classifier: Classifier, pixels: Pixels, runtime: Runtime, batch_size: int) -> Floats:
    """Input of the last layer: uint8 [N, S, S, 3] -> float32 [N, D], N > 0; in batches as `logits`."""
    seen: list[Fetched] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(fetched(inputs[0].float()))

    handle = classifier.head.register_forward_pre_hook(keep)
    try:
        found = [seen.pop(0)() for _ in _outputs(classifier, pixels, runtime, batch_size)]
    finally:
        handle.remove()
    return np.concatenate(found)[: len(pixels)]


def softmax(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Logits [N, K] -> probabilities [N, K], computed in float64; NaN in rows that are not finite."""
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def cross_entropy(values: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Cross-entropy in nats of every row of logits [N, K] with `labels` [N]: float64 [N], accurate for losses near 0,
    which the ranking compares; NaN in rows that are not finite."""
    rows = np.arange(len(labels))
    with np.errstate(invalid="ignore"):
        margins = values.astype(np.float64) - values[rows, labels].astype(np.float64)[:, None]
        margins[rows, labels] = -np.inf
        top = np.maximum(margins.max(axis=1), 0)
        others = np.exp(margins - top[:, None]).sum(axis=1)
        losses: npt.NDArray[np.float64] = top + np.where(top > 0, np.log(np.exp(-top) + others), np.log1p(others))
    losses[~np.isfinite(values).all(axis=1)] = np.nan
    return losses
