"""A torch classifier as a `Predictor`: gradients and features of its last layer are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.auditing.predictors import Labels, Maps, Probabilities
from ddb.auditing.predictors.checked import outputs_of
from ddb.backends.classifiers.loaded import LoadedClassifier
from ddb.data.images import Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.learn import predict
from ddb.learn.device import Runtime
from ddb.learn.shortcuts import margin_attributions

BATCH = 64


@dataclass(frozen=True)
class TorchModel:
    """`loaded` on the device of `runtime`, in float32. `classes`: the names of its outputs."""

    loaded: LoadedClassifier
    classes: tuple[str, ...]
    runtime: Runtime
    method: str = "integrated gradients"
    space: str = "input of the last layer"

    @property
    def preprocessing(self) -> Preprocessing:
        return self.loaded.card.preprocessing

    @property
    def description(self) -> str:
        return f"{self.loaded.card.architecture}, {self.preprocessing.size} px"

    def predict(self, pixels: Pixels) -> Probabilities:
        """See `Predictor`."""
        found = predict.logits(self.loaded.classifier, pixels, self.runtime, BATCH)
        return predict.softmax(outputs_of(found, len(pixels), len(self.classes), "the model"))

    def attributions(self, pixels: Pixels, labels: Labels) -> Maps:
        """See `Predictor`: integrated gradients of the margin of the class."""
        return margin_attributions(self.loaded.classifier, pixels, labels, self.runtime)

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """See `Predictor`."""
        return predict.features(self.loaded.classifier, pixels, self.runtime, BATCH)
