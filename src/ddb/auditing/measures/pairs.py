"""Flip rate over the counterfactuals of a run: all of them, kept and rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.auditing.figures import Figure, share
from ddb.auditing.images import BATCH
from ddb.auditing.predictors import Predictor
from ddb.data.counterfactuals import Counterfactuals, Rebuilt
from ddb.data.images import Pixels


@dataclass(frozen=True)
class Direction:
    """The pairs from one class to another. Figures as in `Pairs`."""

    name: str
    all: Figure
    kept: Figure | None
    rejected: Figure | None


@dataclass(frozen=True)
class Pairs:
    """Flip rates: the share of pairs of source and counterfactual in which both are predicted as their own class, over
    all pairs and over those that pruning kept and did not keep (None where there are none). `source_right`: the share
    of pairs whose source is predicted as its class, which no flip rate exceeds."""

    all: Figure
    kept: Figure | None
    rejected: Figure | None
    source_right: Figure
    directions: tuple[Direction, ...]


def pairs(predictor: Predictor, found: Counterfactuals, classes: Sequence[str]) -> Pairs | None:
    """The figures over all counterfactuals that were painted; None where there are none. Pixels are read a batch at a
    time. DataError: a source is missing or has changed, or the run is not pruned."""
    if not len(found):
        return None
    before, after = _predicted(predictor, found)
    right, flipped = before == found.from_labels, after == found.to_labels
    both, kept = right & flipped, found.kept

    def three(rows: npt.NDArray[np.bool_]) -> tuple[Figure | None, Figure | None, Figure | None]:
        return share(both[rows]), share(both[rows & kept]), share(both[rows & ~kept])

    directions = []
    for source, target in sorted(set(zip(found.from_labels.tolist(), found.to_labels.tolist(), strict=True))):
        own = three((found.from_labels == source) & (found.to_labels == target))
        assert own[0] is not None, "the direction occurs"
        directions.append(Direction(f"{classes[source]} → {classes[target]}", own[0], own[1], own[2]))
    everything, of_kept, of_rejected = three(np.ones(len(found), np.bool_))
    sources = share(right)
    assert everything is not None and sources is not None, "at least one pair"
    return Pairs(everything, of_kept, of_rejected, sources, tuple(directions))


def _predicted(predictor: Predictor, found: Counterfactuals) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The predicted classes of sources and counterfactuals, int64 [N] each."""

    def at_input(one: Rebuilt) -> tuple[Pixels, Pixels]:
        return predictor.preprocessing.square(one.source), predictor.preprocessing.square(one.image)

    sides: tuple[list[npt.NDArray[np.int64]], ...] = ([], [])
    for start in range(0, len(found), BATCH):
        rows = np.arange(start, min(start + BATCH, len(found)))
        for side, pixels in zip(sides, zip(*found.each(rows, at_input), strict=True), strict=True):
            side.append(predictor.predict(np.stack(pixels)).argmax(axis=1))
    return np.concatenate(sides[0]), np.concatenate(sides[1])
