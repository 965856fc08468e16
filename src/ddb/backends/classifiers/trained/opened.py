"""A trained classifier as its files describe it, and the choice of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ddb.backends.classifiers.loaded import Library
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError


@dataclass(frozen=True)
class Opened:
    """`model` and its last layer `head`; `names` of the outputs, None where the files have none; `library`,
    `architecture` and `model_args` as in `Card`; `notes`: what was done to the files' content, for the log."""

    model: nn.Module
    head: nn.Module
    names: Sequence[str] | None
    preprocessing: Preprocessing
    architecture: str
    model_args: dict[str, Any]
    library: Library
    notes: tuple[str, ...] = field(default=())

    @property
    def outputs(self) -> int:
        """Number of the model's outputs."""
        return outputs_of(self.head)


def outputs_of(head: nn.Module) -> int:
    """Number of outputs of a last layer."""
    return int(next(head.parameters()).shape[0])


@torch.no_grad()
def keep_outputs(head: nn.Module, wanted: Sequence[int]) -> None:
    """Give the last layer these of its outputs, in this order; the others are dropped. ModelError for a layer that is
    neither linear nor a convolution, unless all outputs are wanted in their own order."""
    if list(wanted) == list(range(outputs_of(head))):
        return
    if not isinstance(head, nn.Linear | nn.Conv2d):
        kind = type(head).__name__
        raise ModelError(
            f"the last layer is a {kind}, of which outputs cannot be chosen; give a model with these alone."
        )
    for parameter in head.parameters():
        parameter.data = parameter.data[list(wanted)].clone()
    if isinstance(head, nn.Linear):
        head.out_features = len(wanted)
    else:
        head.out_channels = len(wanted)
