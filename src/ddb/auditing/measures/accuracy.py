"""Accuracy by class and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddb.auditing.figures import Figure, share
from ddb.auditing.groups import Grouping
from ddb.auditing.measures.predictions import Predictions
from ddb.learn.metrics import UNKNOWN


@dataclass(frozen=True)
class Cell:
    """The accuracy on the images of a class, or of a class with one attribute (`attribute` None: all)."""

    name: str
    label: int
    attribute: int | None
    accuracy: Figure


@dataclass(frozen=True)
class Accuracy:
    """`grouping`: where the groups come from, "" where there are none. The worst ones are those of the lowest
    accuracy."""

    overall: Figure
    classes: tuple[Cell, ...]
    grouping: str
    groups: tuple[Cell, ...]

    @property
    def worst_class(self) -> Cell:
        return min(self.classes, key=lambda cell: cell.accuracy.value)

    @property
    def worst_group(self) -> Cell | None:
        return min(self.groups, key=lambda cell: cell.accuracy.value, default=None)


def accuracy(
    predictions: Predictions, classes: Sequence[str], groups: Grouping | None, rows: Sequence[int]
) -> Accuracy:
    """`rows`: of the audited images in the samples, by which `groups` knows them. N > 0. Classes and groups without an
    image, and images of unknown group, have no cell."""
    correct, labels = predictions.correct, predictions.labels
    overall = share(correct)
    assert overall is not None, "at least one image"
    by_class, by_group = [], []
    for label, name in enumerate(classes):
        if (found := share(correct[labels == label])) is not None:
            by_class.append(Cell(name, label, None, found))
    if groups is not None:
        codes = groups.codes[np.asarray(rows)]
        pairs = sorted({(y, a) for y, a in zip(labels.tolist(), codes.tolist(), strict=True) if a != UNKNOWN})
        for label, code in pairs:
            found = share(correct[(labels == label) & (codes == code)])
            assert found is not None, "the pair occurs"
            by_group.append(Cell(f"{classes[label]}, {groups.names[code]}", label, code, found))
    return Accuracy(overall, tuple(by_class), groups.kind if groups and by_group else "", tuple(by_group))
