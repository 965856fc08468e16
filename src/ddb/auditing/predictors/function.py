"""A function from pixels to probabilities as a `Predictor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ddb.auditing.predictors import Labels, Maps, Probabilities
from ddb.auditing.predictors.checked import probabilities_of
from ddb.auditing.predictors.occlusion import log_ratios, occlusion
from ddb.data.images import Pixels
from ddb.data.preprocessing import Preprocessing

GREY = np.full(3, 128, np.uint8)


@dataclass(frozen=True)
class Function:
    """`function`: uint8 [N, S, S, 3], RGB 0-255 -> probabilities [N, C], in the order of `classes`. It is called with
    batches of any size. What it returns is checked in every batch."""

    function: Callable[[Pixels], Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    method: str = "occlusion"
    space: str = "logarithms of the probabilities"

    @property
    def description(self) -> str:
        return f"the function {getattr(self.function, '__qualname__', type(self.function).__name__)}"

    def predict(self, pixels: Pixels) -> Probabilities:
        """See `Predictor`."""
        return probabilities_of(self.function(pixels), len(pixels), len(self.classes), self.description)

    def attributions(self, pixels: Pixels, labels: Labels) -> Maps:
        """See `Predictor`."""
        return occlusion(self.predict, pixels, labels, GREY)

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """See `Predictor`."""
        return log_ratios(self.predict(pixels))
