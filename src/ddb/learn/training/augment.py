"""Training augmentation of whole batches, on tensors.

Random numbers are drawn for the whole batch from one CPU generator, so that a batch depends neither on the device nor
on the number of processes that share it. The values of pixel noise are the exception: on CUDA and MPS they are drawn on
the device, from a seed that the CPU generator gives, since a CPU draws them more slowly than a GPU trains. With
`augment.noise` above 0 a fit on such a device therefore draws other numbers than one on the CPU; without, the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ddb.config import Augment
from ddb.learn.device import CPU
from ddb.learn.transfers import sent

ASPECT = (3 / 4, 4 / 3)
"""Range of the crop's width over height, log-uniform, as in the recipes of the group-robustness papers."""

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of a picture, with fractions."""


@dataclass(frozen=True)
class RandomNumbers:
    """Random numbers for the augmentation of a batch of `total` images on `device`. Each method draws the numbers of
    the whole batch and returns those of the images `own`, on the CPU unless it says otherwise."""

    generator: torch.Generator
    total: int
    own: slice = field(default_factory=lambda: slice(None))
    device: torch.device = CPU

    def uniform(self, low: float, high: float) -> Tensor:
        """float32 [own] in [low, high)."""
        return torch.empty(self.total).uniform_(low, high, generator=self.generator)[self.own]

    def sign(self) -> Tensor:
        """float32 [own], each 1 or -1."""
        return (1 - 2 * torch.randint(0, 2, (self.total,), generator=self.generator).float())[self.own]

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """float32 [own, *shape] on `device`, standard normal."""
        generator = self.generator
        if self.device.type != "cpu":
            seed = int(torch.randint(2**62, (), generator=self.generator))
            generator = torch.Generator(self.device).manual_seed(seed)
        return torch.randn((self.total, *shape), generator=generator, device=self.device)[self.own]

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
            here = sent(smaller.nonzero()[:, 0], images.device)
            result[here] = _looked_up(images[here], theta[smaller])
        return result

    def _mirrored(self, images: Tensor) -> Tensor:
        if bool((self.sign > 0).all()):
            return images
        mirrored = sent((self.sign < 0).view(-1, 1, 1, 1), images.device)
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
    grid = F.affine_grid(sent(theta, images.device), list(images.shape), align_corners=False)
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


@dataclass(frozen=True)
class Distortion:
    """Colour jitter, blur and noise of B images of H x W pixels; None: not done. float32 each, on the CPU but for
    `noise`: `factors` [3, B] of brightness, contrast and saturation; `soft` [B] in [0, 1): weight of the blurred image;
    `level` [B]: the noise's standard deviation, grey levels; `noise` [B, 3, H, W], standard normal, on the device."""

    factors: Tensor | None = None
    soft: Tensor | None = None
    level: Tensor | None = None
    noise: Tensor | None = None

    def of(self, images: Tensor) -> Tensor:
        """Distort crops: float [B, 3, H, W] in 0-255 -> the same shape and range."""
        if self.factors is not None:
            images = _coloured(images, sent(self.factors, images.device))
        if self.soft is not None:
            images = _blurred(images, sent(self.soft, images.device))
        if self.level is not None and self.noise is not None:
            images = (images + self.noise * sent(self.level, images.device).view(-1, 1, 1, 1)).clamp(0, 255)
        return images


def draw_distortion(settings: Augment, numbers: RandomNumbers, size: tuple[int, int]) -> Distortion:
    """Draw the distortion (`settings.colour`, `blur`, `noise`) of a batch of images of `size` (height, width)."""
    factors = soft = level = noise = None
    if settings.colour > 0:
        low, high = 1 - settings.colour, 1 + settings.colour
        factors = torch.stack([numbers.uniform(low, high) for _ in range(3)])
    if settings.blur > 0:
        soft = (numbers.uniform(0, 1) < settings.blur).float() * numbers.uniform(0, 1)
    if settings.noise > 0:
        level, noise = numbers.uniform(0, settings.noise), numbers.normal((3, *size))
    return Distortion(factors, soft, level, noise)


def _coloured(images: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation of each image multiplied by `factors` [3, B]."""
    brightness, contrast, saturation = factors.view(3, -1, 1, 1, 1)
    images = images * brightness
    luma = sent(torch.tensor([0.299, 0.587, 0.114]), images.device).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True)
    centre = grey.mean((2, 3), keepdim=True)
    images = (images - grey) * saturation + grey
    coloured: Tensor = ((images - centre) * contrast + centre).clamp(0, 255)
    return coloured


def _blurred(images: Tensor, soft: Tensor) -> Tensor:
    """Each image blended with its 5x5 Gaussian blur (sigma 1 pixel) by its weight `soft` [B]."""
    kernel = torch.exp(-0.5 * torch.arange(-2.0, 3.0) ** 2)
    kernel = sent(kernel / kernel.sum(), images.device)
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, 5).expand(3, 1, 1, 5), groups=3)
    blurred = F.conv2d(across, kernel.view(1, 1, 5, 1).expand(3, 1, 5, 1), groups=3)
    blended: Tensor = torch.lerp(images, blurred, soft.view(-1, 1, 1, 1))
    return blended
