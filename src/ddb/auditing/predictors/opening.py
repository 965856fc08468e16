"""From what a user names to a `Predictor`: a path or hub id, a loaded classifier, or a function."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddb.auditing.predictors import Predictor
from ddb.auditing.predictors.function import Function
from ddb.auditing.predictors.options import ModelOptions
from ddb.backends.classifiers.loaded import LoadedClassifier
from ddb.data.images import Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ConfigError, ModelError

Model = str | os.PathLike[str] | LoadedClassifier | Callable[[Pixels], Any]
"""A file, folder, role or hub id; a classifier that `ddb.load_classifier` opened; or a function uint8 [N, S, S, 3] ->
probabilities [N, C]."""


def open_predictor(model: Model, options: ModelOptions, device: str) -> Predictor:
    """Open a model. ModelError or ConfigError says what is missing."""
    if isinstance(model, str | os.PathLike):
        path = Path(model).expanduser()
        if path.suffix.lower() == ".onnx":
            if not path.is_file():
                raise ModelError(f"{path}: no such file.")
            from ddb.auditing.predictors.onnx_model import open_onnx

            return open_onnx(path, options)
        return _torch(_adopted(os.fspath(model), options), options, device)
    if isinstance(model, LoadedClassifier):
        return _torch(model, options, device)
    if callable(model):
        return _function(model, options)
    raise ConfigError(f"a model is a path, a loaded classifier or a function, not {type(model).__name__}.")


def _adopted(weights: str, options: ModelOptions) -> LoadedClassifier:
    from ddb.backends.classifiers.adopted import adopt
    from ddb.backends.classifiers.trained.files import SETTING, find_trained
    from ddb.backends.classifiers.trained.output_names import outputs_by_name

    try:
        names, count = outputs_by_name(find_trained(weights), options.backbone, options.size)
        numbered: dict[str, str] = {}
        if names is None:
            if len(options.classes) != count:
                raise ModelError(
                    f"{weights} does not name its {count} outputs; give their names, in the order in which the model "
                    "was trained, with --classes A,B,..."
                )
            numbered = {str(number): name for number, name in enumerate(options.classes)}
        return adopt(weights, None, backbone=options.backbone, image_size=options.size, class_map=numbered)
    except ModelError as error:  # the setting of runs is none of an audit's
        raise ModelError(str(error).removeprefix(f"{SETTING}: ").replace("erm.backbone", "--backbone")) from error


def _torch(loaded: LoadedClassifier, options: ModelOptions, device: str) -> Predictor:
    from ddb.auditing.predictors.torch_model import TorchModel
    from ddb.learn.device import open_accelerator

    own = loaded.card.classes
    if options.classes and own != options.classes:
        raise ConfigError(
            f"--classes {','.join(options.classes)}: the model has {len(own)} outputs, {', '.join(own[:8])}. Leave "
            "--classes out, or rename them with --class-map MODEL=DATA."
        )
    return TorchModel(loaded, own, open_accelerator(device, "fp32").exact())


def _function(function: Callable[[Pixels], Any], options: ModelOptions) -> Predictor:
    missing = [name for name, value in (("classes", options.classes), ("size", options.size)) if not value]
    if missing:
        raise ConfigError(
            f"a function says neither its classes nor its input: give {' and '.join(missing)} "
            "(classes=('cat', 'dog'), size=224)."
        )
    how = Preprocessing(options.size or 0, options.crop or 1.0, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Function(function, options.classes, how)
