"""Training augmentation of whole batches on tensors. All draws come from one CPU generator, so that a batch does not
depend on the device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ddb.config import Augment

ASPECT = (3 / 4, 4 / 3)
"""Range of the crop's width over height, log-uniform, as in the recipes of the group-robustness papers."""


def augment(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Float images [B, 3, H, W] in 0-255 -> the same shape and range."""
    images = _crop_and_flip(images, settings, generator)
    if settings.colour > 0:
        images = _colour(images, settings.colour, generator)
    if settings.blur > 0:
        images = _blur(images, settings.blur, generator)
    if settings.noise > 0:
        images = _noise(images, settings.noise, generator)
    return images


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _crop_and_flip(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Random resized crop and mirror in one bilinear look-up; a crop is never larger than the image."""
    n, crops = len(images), settings.scale != (1.0, 1.0)
    sign = torch.ones(n)
    if settings.flip:
        sign = 1 - 2 * torch.randint(0, 2, (n,), generator=generator).float()
    if not crops:
        mirrored = (sign < 0).view(n, 1, 1, 1).to(images.device)
        return torch.where(mirrored, images.flip(3), images) if settings.flip else images
    area = _uniform(n, settings.scale[0], settings.scale[1], generator)
    aspect = torch.exp(_uniform(n, math.log(ASPECT[0]), math.log(ASPECT[1]), generator))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)  # maps output to input coordinates, both in [-1, 1]
    theta[:, 0, 0], theta[:, 1, 1] = sign * width, height
    theta[:, 0, 2] = _uniform(n, -1, 1, generator) * (1 - width)
    theta[:, 1, 2] = _uniform(n, -1, 1, generator) * (1 - height)
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    looked_up = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return looked_up.contiguous(memory_format=torch.channels_last)


def _factors(n: int, strength: float, generator: torch.Generator, device: torch.device) -> Tensor:
    return _uniform(n, 1 - strength, 1 + strength, generator).view(n, 1, 1, 1).to(device)


def _colour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation, each by a factor in [1 - strength, 1 + strength]."""
    n, device = len(images), images.device
    images = images * _factors(n, strength, generator, device)
    luma = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True)
    centre = grey.mean((2, 3), keepdim=True)
    contrast, saturation = (_factors(n, strength, generator, device) for _ in range(2))
    images = (images - grey) * saturation + grey
    return ((images - centre) * contrast + centre).clamp(0, 255)


def _blur(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Blend a share of the images with their 5x5 Gaussian blur (sigma 1 pixel), by a random weight."""
    n = len(images)
    chosen = (torch.rand(n, generator=generator) < share).float() * torch.rand(n, generator=generator)
    kernel = torch.exp(-0.5 * torch.arange(-2.0, 3.0) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, 5).expand(3, 1, 1, 5), groups=3)
    soft = F.conv2d(across, kernel.view(1, 1, 5, 1).expand(3, 1, 5, 1), groups=3)
    return torch.lerp(images, soft, chosen.view(n, 1, 1, 1).to(images.device))


def _noise(images: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise with a standard deviation drawn from [0, largest] for every image, in grey levels."""
    n = len(images)
    level = _uniform(n, 0, largest, generator).view(n, 1, 1, 1)
    noise = torch.randn(images.shape, generator=generator) * level
    return (images + noise.to(images.device)).clamp(0, 255)
