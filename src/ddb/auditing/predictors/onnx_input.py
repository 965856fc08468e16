"""What an ONNX file says about its input and its outputs, completed by options: shape, normalisation, class names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ddb.auditing.predictors.options import ModelOptions
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError

KEYS = ("classes", "size", "crop", "interpolation", "mean", "std", "outputs")
"""Keys of the file's metadata (`metadata_props`) that are read; their values are JSON, or plain text for a word."""
WHOLE = 1.0
"""Crop where nothing is said: the input shows the whole shorter side."""


@dataclass(frozen=True)
class Tensor:
    """An input or output as onnxruntime describes it. `shape`: an int for a fixed side, else a name or None."""

    name: str
    type: str
    shape: tuple[Any, ...]


@dataclass(frozen=True)
class OnnxInput:
    """`batch`: the fixed batch size, None where it is free; `channels_first`: NCHW; `dtype`: numpy's name of it."""

    preprocessing: Preprocessing
    classes: tuple[str, ...]
    outputs: str
    batch: int | None
    channels_first: bool
    dtype: str


def read_metadata(path: str, found: Mapping[str, str]) -> dict[str, Any]:
    """The known keys with their values. ModelError for a value that is no JSON where a list or number is meant."""
    values: dict[str, Any] = {}
    for key in KEYS:
        if key not in found:
            continue
        try:
            values[key] = json.loads(found[key])
        except ValueError:
            if key not in ("interpolation", "outputs"):
                raise ModelError(f"{path}: its metadata {key!r} is not JSON: {found[key][:80]!r}.") from None
            values[key] = found[key]
    return values


def input_of(
    path: str, given: Tensor, outputs: int | None, metadata: Mapping[str, Any], options: ModelOptions
) -> OnnxInput:
    """The input of the model of file `path`, with the tensor `given`; `outputs`: number of classes, None: dynamic.
    Options come before metadata. ModelError says what is missing or does not fit, and the option that mends it."""
    dtypes = {"tensor(float)": "float32", "tensor(float16)": "float16"}
    if len(given.shape) != 4 or given.type not in dtypes:
        raise ModelError(
            f"{path}: its input {given.name!r} is {given.type} {list(given.shape)}; images as tensor(float) "
            "[N, 3, S, S] or [N, S, S, 3] are expected."
        )
    channels_first = _is_channels_first(path, given, options.layout)
    sides = given.shape[2:4] if channels_first else given.shape[1:3]
    size = _size(path, sides, options.size or metadata.get("size"))
    classes = options.classes or tuple(map(str, metadata.get("classes", ())))
    if not classes or (outputs is not None and len(classes) != outputs):
        said = f"{len(classes)} classes are named" if classes else "it does not name its classes"
        wanted = "its outputs" if outputs is None else f"its {outputs} outputs"
        raise ModelError(f"{path}: {said}; give the names of {wanted} in their order with --classes A,B,...")
    batch = given.shape[0] if isinstance(given.shape[0], int) else None
    output = options.outputs or str(metadata.get("outputs", ""))
    how = _preprocessing(path, size, metadata, options)
    return OnnxInput(how, classes, output, batch, channels_first, dtypes[given.type])


def _is_channels_first(path: str, given: Tensor, layout: str) -> bool:
    at = {"nchw": 1, "nhwc": 3}
    fitting = [name for name, axis in at.items() if given.shape[axis] == 3]
    if not layout and len(fitting) == 1:
        layout = fitting[0]
    if not layout:
        raise ModelError(
            f"{path}: its input {given.name!r} {list(given.shape)} does not tell which axis holds the three colours; "
            "give --layout nchw or nhwc."
        )
    channels = given.shape[at[layout]]
    if isinstance(channels, int) and channels != 3:
        raise ModelError(
            f"{path}: its input {given.name!r} {list(given.shape)} has {channels} channels in layout {layout}; three "
            "are expected (red, green, blue)."
        )
    return layout == "nchw"


def _size(path: str, sides: tuple[Any, ...], asked: Any) -> int:
    fixed = {side for side in sides if isinstance(side, int)}
    if len(fixed) > 1:
        raise ModelError(f"{path}: its input is {sides[1]}x{sides[0]} pixels; a square one is expected.")
    if fixed:
        (size,) = fixed
        if asked is not None and int(asked) != size:
            raise ModelError(f"{path}: its input is {size} pixels wide, not {asked}: leave --size out.")
        return int(size)
    if asked is None:
        raise ModelError(f"{path}: the size of its input is dynamic {list(sides)}; give it with --size PIXELS.")
    return int(asked)


def _preprocessing(path: str, size: int, metadata: Mapping[str, Any], options: ModelOptions) -> Preprocessing:
    mean, std = (getattr(options, name) or metadata.get(name) for name in ("mean", "std"))
    if mean is None or std is None:
        raise ModelError(
            f"{path} does not say how its input is normalised; give --mean and --std for pixels in [0, 1] (mean 0 and "
            "std 1 where the graph does it itself)."
        )
    crop = options.crop or metadata.get("crop", WHOLE)
    try:
        colours = tuple(map(float, mean)), tuple(map(float, std))
        return Preprocessing(size, float(crop), str(metadata.get("interpolation", "bicubic")), *colours)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ModelError(f"{path}: mean {mean!r}, std {std!r}, crop {crop!r}: numbers are expected.") from None
