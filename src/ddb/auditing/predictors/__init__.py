"""Classifiers of any kind behind one Protocol: torch models, ONNX files, functions. `opening.py` opens them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ddb.data.images import Pixels
from ddb.data.preprocessing import Preprocessing

Probabilities = npt.NDArray[np.float64]
"""[N, C]"""
Maps = npt.NDArray[np.float32]
"""[N, S, S]"""
Labels = npt.NDArray[np.integer]
"""[N]: columns of `Probabilities`"""


class Predictor(Protocol):
    """A classifier that is audited. Pixels are uint8 [N, S, S, 3], RGB 0-255, N > 0, as `preprocessing` makes them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the columns of `predict`."""
        ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def description(self) -> str:
        """What it is, for people."""
        ...

    @property
    def method(self) -> str:
        """How `attributions` is computed: "integrated gradients" or "occlusion"."""
        ...

    @property
    def space(self) -> str:
        """What `features` are, for people."""
        ...

    def predict(self, pixels: Pixels) -> Probabilities:
        """Probabilities float64 [N, C], each row finite and with the sum 1. ModelError where the model gives others."""
        ...

    def attributions(self, pixels: Pixels, labels: Labels) -> Maps:
        """How much each pixel contributes to the output of each image's class: float32 [N, S, S]."""
        ...

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """The space in which images that the classifier takes for alike lie close together: float32 [N, D]."""
        ...
