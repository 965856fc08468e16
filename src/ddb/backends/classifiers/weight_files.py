"""Files of a backbone's weights: read, and compared with an architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ddb.errors import ModelError

Shape = Sequence[int]


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, floats as float32. ModelError for a file that cannot be read."""
    try:
        return {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error


def read_shapes(path: Path) -> dict[str, Shape]:
    """The shape of every tensor of a safetensors file, from its header alone. ModelError as `read_weights`."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error


def require_fit(
    path: Path, found: Mapping[str, Shape], wanted: Mapping[str, Shape], apart: Set[str], name: str
) -> None:
    """ModelError where the file lacks a tensor of the architecture `name`, or has it in another shape; tensors named
    in `apart` (the last layer) may differ. The message names the first such tensor and gives their number."""
    named = [tensor for tensor in wanted if tensor not in apart]
    wrong = [tensor for tensor in named if tensor not in found or list(found[tensor]) != list(wanted[tensor])]
    if not wrong:
        return
    tensor = wrong[0]
    has = f"is {list(found[tensor])}" if tensor in found else "is missing"
    others = f" ({len(wrong) - 1} more tensors differ)" if len(wrong) > 1 else ""
    raise ModelError(
        f"{path} does not fit {name}: tensor {tensor!r} {has} in the file, {list(wanted[tensor])} in the model"
        f"{others}. Set erm.backbone to the architecture that the weights were saved from."
    )


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of every tensor of a model's state."""
    return {name: value.shape for name, value in state.items()}
