"""Predictions of the audited images, which several measures read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.auditing.predictors import Predictor, Probabilities
from ddb.data.images import Pixels


@dataclass(frozen=True, eq=False)
class Predictions:
    """`labels` int64 [N]; `probabilities` float64 [N, C], C classes of the model, those of the data first."""

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: Probabilities

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        columns: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return columns

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        right: npt.NDArray[np.bool_] = self.predicted == self.labels
        return right


def predict_all(
    predictor: Predictor, ids: Sequence[str], labels: npt.NDArray[np.int64], batches: Iterable[Pixels]
) -> Predictions:
    """`batches`: the images uint8 [b, S, S, 3] in the order of `ids`; one is in memory at a time."""
    return Predictions(tuple(ids), labels, np.concatenate([predictor.predict(pixels) for pixels in batches]))
