"""Selection of epochs: figures of a model on validation images, by the selection rule (method section 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ddb.errors import ConfigError
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime
from ddb.learn.finite import require_finite
from ddb.learn.predict import logits
from ddb.learn.training.fit import Figures


@dataclass(frozen=True)
class Held:
    """Held-out images: `pixels` uint8 [N, S, S, 3], `labels` int64 [N], `cells` int64 [N]: each image's cell; the rules
    compare the accuracies of cells."""

    pixels: Pixels
    labels: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]


def validator(rule: str, held: list[Held], runtime: Runtime, batch_size: int) -> Callable[[Classifier], Figures] | None:
    """The function that gives the figures of a classifier on the held-out images, each in [0, 1]. Rule "mean": (mean
    accuracy); "last": None; other rules: (lowest accuracy of a cell, mean accuracy). The function raises StageFailed
    for logits that are not finite."""
    if rule == "last":
        return None
    held = [part for part in held if len(part.labels)]
    labels = np.concatenate([part.labels for part in held])
    cells = np.concatenate([part.cells for part in held])

    def figures(classifier: Classifier) -> Figures:
        outputs = np.concatenate([logits(classifier, part.pixels, runtime, batch_size) for part in held])
        require_finite("the logits are", outputs)
        correct = outputs.argmax(axis=1) == labels
        mean = float(correct.mean())
        return (mean,) if rule == "mean" else (lowest_accuracy(correct, cells), mean)

    return figures


def lowest_accuracy(correct: npt.NDArray[np.bool_], cells: npt.NDArray[np.int64]) -> float:
    """The accuracy of the cell in which it is lowest."""
    return min(float(correct[cells == cell].mean()) for cell in np.unique(cells))


def holdout(samples: pa.Table, pixels: Pixels) -> Held:
    """Validation samples (records.SAMPLES) with their classes as cells, for rules without group labels."""
    labels = samples["label"].to_numpy().astype(np.int64)
    return Held(pixels, labels, labels)


def group_cells(samples: pa.Table, groups: pa.Table | None, setting: str) -> npt.NDArray[np.int64]:
    """The cell of every sample, int64 [N]: a number for its (label, attribute), from a table with columns id and
    attribute.

    Raises ConfigError where group labels are missing; `setting` is the setting that asked for them, with its value.
    """
    known = dict(zip(*(groups[name].to_pylist() for name in ("id", "attribute")), strict=True)) if groups else {}
    attributes = [known.get(item) for item in samples["id"].to_pylist()]
    if not attributes or None in attributes:
        raise ConfigError(
            f"{setting} needs the group of every validation image; this data set lacks it. "
            'Use "worst_class" or "counterfactual".'
        )
    pairs = list(zip(samples["label"].to_pylist(), attributes, strict=True))
    cells = {pair: cell for cell, pair in enumerate(sorted(set(pairs)))}
    return np.array([cells[pair] for pair in pairs], np.int64)
