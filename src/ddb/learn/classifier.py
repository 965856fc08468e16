"""The interface of classifiers that training and prediction use, independent of the model library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ddb.data.preprocessing import Colour, Preprocessing
from ddb.learn.transfers import sent

Pixels = npt.NDArray[np.uint8]
"""[N, S, S, 3], RGB, 0-255; may be a memory map."""


@dataclass(frozen=True)
class Classifier:
    """`model`: float [B, 3, S, S] normalised -> logits [B, K]; `head`: its last layer, a module inside `model`;
    `preprocessing`: turns a picture into the model's input; S is its `size`."""

    model: nn.Module
    head: nn.Module
    preprocessing: Preprocessing

    @property
    def mean(self) -> Colour:
        """The pretraining's mean of red, green and blue, for pixels in [0, 1]."""
        return self.preprocessing.mean

    @property
    def std(self) -> Colour:
        """The pretraining's standard deviation of red, green and blue, for pixels in [0, 1]."""
        return self.preprocessing.std

    @property
    def image_size(self) -> int:
        """Side of the square input, pixels."""
        return self.preprocessing.size

    def on(self, device: torch.device) -> nn.Module:
        """The model, moved to `device` in channels_last memory format."""
        self.model.to(device).to(memory_format=torch.channels_last)
        return self.model

    def normalise(self, images: Tensor) -> Tensor:
        """Float pixels [B, 3, S, S] in 0-255 -> the model's input."""
        scale, shift = _scale_and_shift(self.mean, self.std, images.device, images.dtype)
        return torch.addcmul(shift, images, scale)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _scale_and_shift(mean: Colour, std: Colour, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Each [3, 1, 1]. They are kept, since a copy to the device makes the host wait."""
    scale = torch.tensor([1 / (255 * s) for s in std], dtype=dtype)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=dtype)
    return scale.view(3, 1, 1).to(device), shift.view(3, 1, 1).to(device)


def to_tensor(pixels: Pixels, device: torch.device) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S] in 0-255, in channels_last memory format (the permutation is a
    view)."""
    own = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))  # memory maps are read here
    return as_images(sent(own, device))


def as_images(pixels: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S] on the same device, in channels_last memory format."""
    return pixels.permute(0, 3, 1, 2).float()
