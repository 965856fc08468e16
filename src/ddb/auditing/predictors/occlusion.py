"""Attribution and features of a classifier of which only the probabilities are known.

Occlusion (Zeiler and Fergus 2014): a patch is covered with one colour, and its attribution is the loss of probability.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ddb.auditing.predictors import Labels, Maps, Probabilities
from ddb.data.images import Pixels

CELLS = 8
"""Patches along each side."""
SMALLEST = 1e-6
"""Probabilities below are taken for this one in `log_ratios`."""
Predict = Callable[[Pixels], Probabilities]


def occlusion(predict: Predict, pixels: Pixels, labels: Labels, colour: npt.NDArray[np.uint8]) -> Maps:
    """float32 [N, S, S]: for every patch of a grid of `CELLS` x `CELLS` the probability of the image's class that is
    lost where the patch is covered with `colour` (uint8 [3]), shared out evenly among its pixels."""
    count, side = len(pixels), pixels.shape[1]
    edges = np.linspace(0, side, min(CELLS, side) + 1).round().astype(int)
    rows = np.arange(count)
    whole = predict(pixels)[rows, labels]
    maps = np.zeros((count, side, side), np.float32)
    for top, bottom in zip(edges[:-1], edges[1:], strict=True):
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            covered = pixels.copy()
            covered[:, top:bottom, left:right] = colour
            lost = whole - predict(covered)[rows, labels]
            maps[:, top:bottom, left:right] = (lost / ((bottom - top) * (right - left)))[:, None, None]
    return maps


def log_ratios(probabilities: Probabilities) -> npt.NDArray[np.float32]:
    """Logarithms of the probabilities, their mean taken off each row: logits up to a constant, float32 [N, C]."""
    logs = np.log(np.clip(probabilities, SMALLEST, None))
    centred: npt.NDArray[np.float32] = (logs - logs.mean(axis=1, keepdims=True)).astype(np.float32)
    return centred
