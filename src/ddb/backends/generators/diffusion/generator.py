"""Counterfactuals by latent diffusion inpainting, through diffusers' models (Stable Diffusion 1.5, 2 and XL, UNets of
9 and of 4 channels).

Everything that does not change between steps is computed once: prompts, latents, masked latents. Item n of a batch
depends on task n alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ddb.backends import Image, Mask, Painted, Task
from ddb.backends.generators.diffusion.geometry import paste_back, take, window
from ddb.backends.generators.diffusion.model import Diffusion
from ddb.backends.generators.diffusion.sampling import Canvas, check_steps, sample
from ddb.backends.generators.diffusion.text import joined
from ddb.config import InpaintConfig
from ddb.errors import ConfigError
from ddb.learn.halving import BatchSize, in_halves

VAE_PIXELS = 1024 * 1024
"""Pixels that go through the VAE at once: it runs in float32 and needs about 2 GB for a 512 x 512 image."""


@dataclass(frozen=True)
class LatentDiffusion:
    """A Generator: paints in a square of `settings.image_size` px and puts the result back into the source."""

    model: Diffusion
    settings: InpaintConfig
    wants_donor: bool = False

    def __post_init__(self) -> None:
        check_steps(self.model.schedule, self.settings)
        check_size(self.model, self.settings.image_size)

    @property
    def identity(self) -> str:
        return self.model.identity

    def paint(self, tasks: Sequence[Task]) -> list[Painted]:
        """One result a task, in order. ModelError for an unknown token, ValueError for an empty mask, OutOfMemory where
        one task does not fit into memory."""
        return in_halves(self._paint_batch, tasks, self._room)

    @cached_property
    def _room(self) -> BatchSize:
        return BatchSize(self.settings.batch_size, "inpaint.batch_size", remedy(self.settings))

    def _paint_batch(self, tasks: Sequence[Task]) -> list[Painted]:
        size = self.settings.image_size
        areas = [window(task.mask, self.settings.crop) for task in tasks]
        squares = [take(t.image, t.mask, area, size) for t, area in zip(tasks, areas, strict=True)]
        prompts = self.model.prompts
        latents = sample(
            self.model,
            self.settings,
            joined([prompts.encode(task.prompt) for task in tasks]),
            joined([prompts.encode_against(task.against) for task in tasks]),
            [torch.Generator().manual_seed(task.seed) for task in tasks],
            canvas(self.model, [s[0] for s in squares], [s[1] for s in squares], self.settings.strength < 1),
        )
        images = decode(self.model, latents)
        return [
            paste_back(task.image, task.mask, area, image, self.settings.feather)
            for task, area, image in zip(tasks, areas, images, strict=True)
        ]


def check_size(model: Diffusion, size: int) -> None:
    """ConfigError if images of this side do not fit the model's latent grid."""
    if size % model.factor:
        raise ConfigError(f"inpaint.image_size: {size} is no multiple of {model.factor}, the side of a latent cell.")


def remedy(settings: InpaintConfig) -> str:
    """What helps where one image does not fit into memory."""
    return f"lower inpaint.image_size (now {settings.image_size}), set precision bf16, or free the device"


def canvas(model: Diffusion, images: Sequence[Image], masks: Sequence[Mask], with_known: bool) -> Canvas:
    """Encode a batch of squares once. Latent masks are max-pooled: a cell is repainted if any pixel of it is."""
    pixels = _pixels(images).to(model.runtime.device)
    holes = torch.from_numpy(np.stack(masks))[:, None].float().to(model.runtime.device)
    return Canvas(
        mask=torch.nn.functional.max_pool2d(holes, model.factor),
        masked=encode(model, pixels * (1 - holes)) if model.inpainting else None,
        known=encode(model, pixels) if with_known or not model.inpainting else None,
    )


@torch.no_grad()
def encode(model: Diffusion, pixels: Tensor) -> Tensor:
    """Pixels B3HW in [-1, 1] -> scaled latents BChw, float32: the posterior's mode, so no draw is involved."""
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    latents = _in_slices(lambda part: model.vae.encode(part).latent_dist.mode(), pixels, pixels.shape[-2:].numel())
    return latents * float(model.vae.config.scaling_factor)


@torch.no_grad()
def decode(model: Diffusion, latents: Tensor) -> list[Image]:
    """Scaled latents BChw -> uint8 HWC images."""
    scaled = (latents / model.vae.config.scaling_factor).contiguous(memory_format=torch.channels_last)
    area = latents.shape[-2:].numel() * model.factor**2
    pixels = _in_slices(lambda part: model.vae.decode(part, return_dict=False)[0], scaled, area)
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _in_slices(work: Callable[[Tensor], Tensor], batch: Tensor, area: int) -> Tensor:
    """`work` over as many rows at once as VAE_PIXELS allows, `area` pixels each."""
    return torch.cat([work(part) for part in torch.split(batch, max(1, VAE_PIXELS // area))])


def _pixels(images: Sequence[Image]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
