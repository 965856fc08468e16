"""An ONNX file as a `Predictor`, computed by onnxruntime (extra `onnx`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddb.auditing.predictors import Labels, Maps, Probabilities
from ddb.auditing.predictors.checked import are_probabilities, outputs_of, probabilities_of
from ddb.auditing.predictors.occlusion import log_ratios, occlusion
from ddb.auditing.predictors.onnx_input import OnnxInput, Tensor, input_of, read_metadata
from ddb.auditing.predictors.options import ModelOptions
from ddb.backends.weights import reason_of
from ddb.data.images import Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn.predict import filled_up, softmax

BATCH = 64


@dataclass(frozen=True)
class OnnxModel:
    """`compute`: an array as `described` says -> outputs [n, C]; `softmax`: whether the outputs are logits."""

    path: str
    compute: Callable[[npt.NDArray[Any]], Any]
    described: OnnxInput
    softmax: bool
    method: str = "occlusion"
    space: str = "logarithms of the probabilities"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.described.classes

    @property
    def preprocessing(self) -> Preprocessing:
        return self.described.preprocessing

    @property
    def description(self) -> str:
        outputs = "its logits through softmax" if self.softmax else "its probabilities"
        return f"the ONNX file {Path(self.path).name}, {self.preprocessing.size} px, {outputs}"

    def predict(self, pixels: Pixels) -> Probabilities:
        """See `Predictor`."""
        size = self.described.batch or BATCH
        return np.concatenate([self._batch(pixels[start : start + size]) for start in range(0, len(pixels), size)])

    def attributions(self, pixels: Pixels, labels: Labels) -> Maps:
        """See `Predictor`."""
        colour = (np.array(self.preprocessing.mean) * 255).round().astype(np.uint8)
        return occlusion(self.predict, pixels, labels, colour)

    def features(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """See `Predictor`."""
        return log_ratios(self.predict(pixels))

    def _batch(self, pixels: Pixels) -> Probabilities:
        """At most `BATCH` images, or the fixed batch size, to which they are filled up."""
        count = len(pixels)
        values = raw_outputs(self.path, self.compute, self.described, pixels)
        if self.softmax:
            return softmax(outputs_of(values, count, len(self.classes), self.path))
        return probabilities_of(values, count, len(self.classes), self.path)


def raw_outputs(
    path: str, compute: Callable[[npt.NDArray[Any]], Any], described: OnnxInput, pixels: Pixels
) -> npt.NDArray[Any]:
    """What the model returns for at most a batch of images. ModelError where onnxruntime fails."""
    how, count = described.preprocessing, len(pixels)
    images = (pixels.astype(np.float32) / 255 - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    if described.batch is not None:
        images = filled_up(images, described.batch)
    if described.channels_first:
        images = images.transpose(0, 3, 1, 2)
    try:
        return np.asarray(compute(np.ascontiguousarray(images, dtype=described.dtype)))[:count]
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise ModelError(f"{path} cannot be computed: {reason_of(error)}") from error


def open_onnx(path: Path, options: ModelOptions) -> OnnxModel:
    """Open a file. Outputs are taken for probabilities where the options or metadata say so or, where neither says
    anything, where those of three test images are some. ModelError: onnxruntime is not installed, the file is damaged,
    has not one image input, or lacks what options do not say."""
    try:
        import onnxruntime
    except ImportError:
        raise ModelError(
            f"{path} needs onnxruntime: pip install 'diffusion-driven-balancing[onnx]' (or onnxruntime)."
        ) from None
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"{path} is no ONNX file that onnxruntime opens: {reason_of(error)}") from error
    inputs = [Tensor(one.name, one.type, tuple(one.shape)) for one in session.get_inputs()]
    outputs = [Tensor(one.name, one.type, tuple(one.shape)) for one in session.get_outputs()]
    if len(inputs) != 1:
        raise ModelError(
            f"{path}: it has {len(inputs)} inputs ({', '.join(one.name for one in inputs)}); one image "
            "input is expected."
        )
    if not outputs or len(outputs[0].shape) != 2:
        found = f"{list(outputs[0].shape)}" if outputs else "none"
        raise ModelError(f"{path}: its first output is {found}; [N, classes] is expected of a classifier.")
    columns = outputs[0].shape[1] if isinstance(outputs[0].shape[1], int) else None
    metadata = read_metadata(str(path), session.get_modelmeta().custom_metadata_map)
    described = input_of(str(path), inputs[0], columns, metadata, options)

    def compute(images: npt.NDArray[Any]) -> Any:
        return session.run([outputs[0].name], {inputs[0].name: images})[0]

    return OnnxModel(str(path), compute, described, _gives_logits(str(path), compute, described))


def _gives_logits(path: str, compute: Callable[[npt.NDArray[Any]], Any], described: OnnxInput) -> bool:
    if described.outputs:
        return described.outputs == "logits"
    side, count = described.preprocessing.size, min(3, described.batch or 3)
    shades = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    values = raw_outputs(path, compute, described, shades)
    return not are_probabilities(outputs_of(values, count, len(described.classes), path))
