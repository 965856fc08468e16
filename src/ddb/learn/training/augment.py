"""Training augmentation of whole batches, on tensors. All random numbers come from one CPU generator, so that a batch
depends neither on the device nor on the number of processes that share it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ddb.config import Augment

ASPECT = (3 / 4, 4 / 3)
"""Range of the crop's width over height, log-uniform, as in the recipes of the group-robustness papers."""

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of a picture, with fractions."""


@dataclass(frozen=True)
class RandomNumbers:
    """Random numbers for the augmentation of a batch of `total` images. Each method draws the numbers of the whole
    batch and returns those of the images `own`."""

    generator: torch.Generator
    total: int
    own: slice = field(default_factory=lambda: slice(None))

    def uniform(self, low: float, high: float) -> Tensor:
        """float32 [own] in [low, high)."""
        return torch.empty(self.total).uniform_(low, high, generator=self.generator)[self.own]

    def sign(self) -> Tensor:
        """float32 [own], each 1 or -1."""
        return (1 - 2 * torch.randint(0, 2, (self.total,), generator=self.generator).float())[self.own]

    def normal(self, shape: torch.Size) -> Tensor:
        """float32 [own, *shape], standard normal."""
        return torch.randn((self.total, *shape), generator=self.generator)[self.own]

    def ones(self) -> Tensor:
        """float32 [own] of ones; nothing is drawn."""
        return torch.ones(self.total)[self.own]


@dataclass(frozen=True)
class Windows:
    """A random crop of each of B pictures. float32 [B] each: `sign`: -1 mirrors the picture, 1 does not; `area` in (0,
    1]: share of the picture; `aspect`: width over height; `across` and `down` in [-1, 1]: position of the crop, from
    the left (top) border to the right (bottom) one. Without `area` (None) nothing is cropped."""

    sign: Tensor
    area: Tensor | None = None
    aspect: Tensor | None = None
    across: Tensor | None = None
    down: Tensor | None = None

    @property
    def crops(self) -> bool:
        """Whether there is anything to crop."""
        return self.area is not None

    def of_squares(self, images: Tensor) -> Tensor:
        """Crop and mirror squares float [B, 3, S, S] with one bilinear `grid_sample`: float [B, 3, S, S]. A crop is at
        most as large as its square, so no image is reduced and no antialiasing is needed."""
        if self.area is None or self.aspect is None or self.across is None or self.down is None:
            return self._mirrored(images)
        width = (self.area * self.aspect).sqrt().clamp(max=1)
        height = (self.area / self.aspect).sqrt().clamp(max=1)
        theta = torch.zeros(len(images), 2, 3)  # maps output to input coordinates, both in [-1, 1]
        theta[:, 0, 0], theta[:, 1, 1] = self.sign * width, height
        theta[:, 0, 2] = self.across * (1 - width)
        theta[:, 1, 2] = self.down * (1 - height)
        smaller = (width < 1) | (height < 1)
        if bool(smaller.all()):
            return _looked_up(images, theta)
        result = self._mirrored(images).clone(memory_format=torch.channels_last)
        if bool(smaller.any()):
            here = smaller.to(images.device)
            result[here] = _looked_up(images[here], theta[smaller])
        return result

    def _mirrored(self, images: Tensor) -> Tensor:
        if bool((self.sign > 0).all()):
            return images
        mirrored = (self.sign < 0).view(-1, 1, 1, 1).to(images.device)
        return torch.where(mirrored, images.flip(3), images)

    def box(self, row: int, height: int, width: int) -> Box:
        """The crop of row `row` in a picture of `height` x `width` pixels. A side longer than the picture's is reduced
        to it; the other side is then reduced as well where the crop's aspect would lie outside `ASPECT`."""
        assert self.area is not None and self.aspect is not None and self.across is not None and self.down is not None
        area, aspect = float(self.area[row]) * height * width, float(self.aspect[row])
        across, down = math.sqrt(area * aspect), math.sqrt(area / aspect)
        across, down = min(across, width), min(down, height)
        across, down = min(across, ASPECT[1] * down), min(down, across / ASPECT[0])
        left = (width - across) * (1 + float(self.across[row])) / 2
        top = (height - down) * (1 + float(self.down[row])) / 2
        return left, top, min(left + across, width), min(top + down, height)

    def done(self, rows: Sequence[int]) -> Windows:
        """The windows that remain after the pictures `rows` were cropped: these rows are only mirrored, not cropped."""
        if not rows or self.area is None or self.aspect is None:
            return self
        area, aspect = self.area.clone(), self.aspect.clone()
        area[list(rows)] = aspect[list(rows)] = 1
        return replace(self, area=area, aspect=aspect)


def _looked_up(images: Tensor, theta: Tensor) -> Tensor:
    """`images` [B, 3, S, S] resampled by the affine maps `theta` [B, 2, 3], bilinear: float [B, 3, S, S]."""
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    found = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.contiguous(memory_format=torch.channels_last)


def draw_windows(settings: Augment, numbers: RandomNumbers) -> Windows:
    """Draw the crops (`settings.scale`) and mirrorings (`settings.flip`) of a batch."""
    sign = numbers.sign() if settings.flip else numbers.ones()
    if settings.scale == (1.0, 1.0):
        return Windows(sign)
    area = numbers.uniform(settings.scale[0], settings.scale[1])
    aspect = torch.exp(numbers.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    return Windows(sign, area, aspect, numbers.uniform(-1, 1), numbers.uniform(-1, 1))


def augment(images: Tensor, settings: Augment, numbers: RandomNumbers) -> Tensor:
    """Crop, mirror and distort squares: float [B, 3, S, S] in 0-255 -> the same shape and range."""
    return distort(draw_windows(settings, numbers).of_squares(images), settings, numbers)


def distort(images: Tensor, settings: Augment, numbers: RandomNumbers) -> Tensor:
    """Colour jitter, blur and noise of crops: float [B, 3, H, W] in 0-255 -> the same shape and range."""
    if settings.colour > 0:
        images = _colour(images, settings.colour, numbers)
    if settings.blur > 0:
        images = _blur(images, settings.blur, numbers)
    if settings.noise > 0:
        images = _noise(images, settings.noise, numbers)
    return images


def _factors(strength: float, numbers: RandomNumbers, device: torch.device) -> Tensor:
    return numbers.uniform(1 - strength, 1 + strength).view(-1, 1, 1, 1).to(device)


def _colour(images: Tensor, strength: float, numbers: RandomNumbers) -> Tensor:
    """Brightness, contrast and saturation, each by a factor in [1 - strength, 1 + strength]."""
    images = images * _factors(strength, numbers, images.device)
    luma = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True)
    centre = grey.mean((2, 3), keepdim=True)
    contrast, saturation = (_factors(strength, numbers, images.device) for _ in range(2))
    images = (images - grey) * saturation + grey
    return ((images - centre) * contrast + centre).clamp(0, 255)


def _blur(images: Tensor, share: float, numbers: RandomNumbers) -> Tensor:
    """Blend a share of the images with their 5x5 Gaussian blur (sigma 1 pixel), by a random weight."""
    n = len(images)
    chosen = (numbers.uniform(0, 1) < share).float() * numbers.uniform(0, 1)
    kernel = torch.exp(-0.5 * torch.arange(-2.0, 3.0) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, 5).expand(3, 1, 1, 5), groups=3)
    soft = F.conv2d(across, kernel.view(1, 1, 5, 1).expand(3, 1, 5, 1), groups=3)
    return torch.lerp(images, soft, chosen.view(n, 1, 1, 1).to(images.device))


def _noise(images: Tensor, largest: float, numbers: RandomNumbers) -> Tensor:
    """Gaussian noise with a standard deviation drawn from [0, largest] for every image, in grey levels."""
    n = len(images)
    level = numbers.uniform(0, largest).view(n, 1, 1, 1)
    noise = numbers.normal(images.shape[1:]) * level
    return (images + noise.to(images.device)).clamp(0, 255)
