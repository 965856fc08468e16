"""Training augmentation of whole batches on tensors. All draws come from one CPU generator, so that a batch does not
depend on the device, nor on how many processes share it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ddb.config import Augment

ASPECT = (3 / 4, 4 / 3)
"""Range of the crop's width over height, log-uniform, as in the recipes of the group-robustness papers."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for a batch of `total` images: all of them are drawn, those of the images `own` are returned."""

    generator: torch.Generator
    total: int
    own: slice = field(default_factory=lambda: slice(None))

    def uniform(self, low: float, high: float) -> Tensor:
        return torch.empty(self.total).uniform_(low, high, generator=self.generator)[self.own]

    def sign(self) -> Tensor:
        return (1 - 2 * torch.randint(0, 2, (self.total,), generator=self.generator).float())[self.own]

    def normal(self, shape: torch.Size) -> Tensor:
        return torch.randn((self.total, *shape), generator=self.generator)[self.own]


def augment(images: Tensor, settings: Augment, draws: Draws) -> Tensor:
    """Float images [B, 3, H, W] in 0-255 -> the same shape and range."""
    images = _crop_and_flip(images, settings, draws)
    if settings.colour > 0:
        images = _colour(images, settings.colour, draws)
    if settings.blur > 0:
        images = _blur(images, settings.blur, draws)
    if settings.noise > 0:
        images = _noise(images, settings.noise, draws)
    return images


def _crop_and_flip(images: Tensor, settings: Augment, draws: Draws) -> Tensor:
    """Random resized crop and mirror in one bilinear look-up; a crop is never larger than the image."""
    n, crops = len(images), settings.scale != (1.0, 1.0)
    sign = draws.sign() if settings.flip else torch.ones(n)
    if not crops:
        mirrored = (sign < 0).view(n, 1, 1, 1).to(images.device)
        return torch.where(mirrored, images.flip(3), images) if settings.flip else images
    area = draws.uniform(settings.scale[0], settings.scale[1])
    aspect = torch.exp(draws.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)  # maps output to input coordinates, both in [-1, 1]
    theta[:, 0, 0], theta[:, 1, 1] = sign * width, height
    theta[:, 0, 2] = draws.uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = draws.uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    looked_up = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return looked_up.contiguous(memory_format=torch.channels_last)


def _factors(strength: float, draws: Draws, device: torch.device) -> Tensor:
    return draws.uniform(1 - strength, 1 + strength).view(-1, 1, 1, 1).to(device)


def _colour(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Brightness, contrast and saturation, each by a factor in [1 - strength, 1 + strength]."""
    images = images * _factors(strength, draws, images.device)
    luma = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True)
    centre = grey.mean((2, 3), keepdim=True)
    contrast, saturation = (_factors(strength, draws, images.device) for _ in range(2))
    images = (images - grey) * saturation + grey
    return ((images - centre) * contrast + centre).clamp(0, 255)


def _blur(images: Tensor, share: float, draws: Draws) -> Tensor:
    """Blend a share of the images with their 5x5 Gaussian blur (sigma 1 pixel), by a random weight."""
    n = len(images)
    chosen = (draws.uniform(0, 1) < share).float() * draws.uniform(0, 1)
    kernel = torch.exp(-0.5 * torch.arange(-2.0, 3.0) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, 5).expand(3, 1, 1, 5), groups=3)
    soft = F.conv2d(across, kernel.view(1, 1, 5, 1).expand(3, 1, 5, 1), groups=3)
    return torch.lerp(images, soft, chosen.view(n, 1, 1, 1).to(images.device))


def _noise(images: Tensor, largest: float, draws: Draws) -> Tensor:
    """Gaussian noise with a standard deviation drawn from [0, largest] for every image, in grey levels."""
    n = len(images)
    level = draws.uniform(0, largest).view(n, 1, 1, 1)
    noise = draws.normal(images.shape[1:]) * level
    return (images + noise.to(images.device)).clamp(0, 255)
