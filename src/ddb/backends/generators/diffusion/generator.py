"""Counterfactuals by latent diffusion inpainting, through diffusers' models (Stable Diffusion 1.5, 2 and XL, UNets of
9 and of 4 channels).

Everything that does not change between steps is computed once: prompts, latents, masked latents. Batches have a fixed
shape, and item n of a batch depends on task n alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ddb.backends import Failed, Image, Mask, Painted, Task
from ddb.backends.batches import Rooms, first_fault, in_fixed_batches, not_finite
from ddb.backends.generators.diffusion.flat import flat_colour
from ddb.backends.generators.diffusion.geometry import Window, paste_back, take, window
from ddb.backends.generators.diffusion.model import Diffusion
from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.sampling import Canvas, check_steps, sample
from ddb.backends.generators.diffusion.text import Text, joined
from ddb.config import LatentDiffusionConfig
from ddb.errors import ConfigError, ModelError

VAE_PIXELS = 1024 * 1024
"""Pixels that go through the VAE at once: it runs in float32 and needs about 2 GB for a 512 x 512 image."""
GREY = 127


@dataclass(frozen=True)
class Square:
    """A task at the generator's size: pixels uint8 HWC and mask bool HW, the embedded prompts, the seed of the noise.
    `task` and `area`: where the result is pasted back; None for a blank."""

    pixels: Image
    hole: Mask
    text: Text
    against: Text
    seed: int
    task: Task | None = None
    area: Window | None = None


@dataclass(frozen=True)
class LatentDiffusion:
    """A Generator: paints a square of `settings.image_size` px and pastes the result into the source. `prompts` hold
    the learned tokens that tasks may name. ConfigError if the settings do not fit the model."""

    model: Diffusion
    settings: LatentDiffusionConfig
    prompts: Prompts
    wants_donor: bool = False

    def __post_init__(self) -> None:
        check_steps(self.model.schedule, self.settings)
        check_size(self.model, self.settings.image_size)

    @property
    def identity(self) -> str:
        return self.model.identity

    def paint(self, tasks: Sequence[Task | Failed], batch_size: int) -> list[Painted | Failed]:
        """One result per task, in order, in batches of exactly `batch_size`.

        A task fails alone: an empty mask, an unknown token, a prompt that is too long, a model whose output is not
        finite, a painting of one flat colour. OutOfMemory where one task does not fit into memory."""
        squares = [self._square(task) for task in tasks]
        return in_fixed_batches(self._painted, squares, self._blank(), self._rooms.of(batch_size))

    @cached_property
    def _rooms(self) -> Rooms:
        return Rooms("inpaint.batch_size", remedy(self.settings))

    def _square(self, task: Task | Failed) -> Square | Failed:
        if isinstance(task, Failed):
            return task
        size = self.settings.image_size
        try:
            area = window(task.mask, self.settings.crop)
            pixels, hole = take(task.image, task.mask, area, size)
            text, against = self.prompts.encode(task.prompt), self.prompts.encode_against(task.against)
        except (ModelError, ValueError) as error:
            return Failed(str(error))
        if not all(bool(one.hidden.isfinite().all()) for one in (text, against)):
            return not_finite("the text encoder's output", torch.float32)
        return Square(pixels, hole, text, against, task.seed, task, area)

    def _blank(self) -> Square:
        """A grey square, which replaces failed tasks and pads the last batch."""
        side = (self.settings.image_size,) * 2
        text, against = self.prompts.encode(""), self.prompts.encode_against("")
        return Square(np.full((*side, 3), GREY, np.uint8), np.ones(side, np.bool_), text, against, 0)

    def _painted(self, squares: Sequence[Square]) -> list[Painted | Failed]:
        board = canvas(
            self.model, [one.pixels for one in squares], [one.hole for one in squares], self.settings.strength < 1
        )
        latents = sample(
            self.model,
            self.settings,
            joined([one.text for one in squares]),
            joined([one.against for one in squares]),
            [torch.Generator().manual_seed(one.seed) for one in squares],
            board,
        )
        pixels = decode(self.model, latents)
        checks = [
            ("the VAE's encoding", torch.float32, board.masked),
            ("the VAE's encoding", torch.float32, board.known),
            ("the UNet's output", self.model.runtime.dtype, latents),
            ("the VAE's output", torch.float32, pixels),
        ]
        return [
            first_fault(checks, row) or self._put_back(square, image)
            for row, (square, image) in enumerate(zip(squares, as_images(pixels), strict=True))
        ]

    def _put_back(self, square: Square, image: Image) -> Painted | Failed:
        if (failed := flat_colour(image, square.hole)) is not None:
            return failed
        if square.task is None or square.area is None:
            return Failed("a blank")
        return paste_back(square.task.image, square.task.mask, square.area, image, self.settings.feather)


def check_size(model: Diffusion, size: int) -> None:
    """ConfigError if images of this side do not fit the model's latent grid."""
    if size % model.factor:
        raise ConfigError(f"inpaint.image_size: {size} is no multiple of {model.factor}, the side of a latent cell.")


def remedy(settings: LatentDiffusionConfig) -> str:
    """The remedy in the message where one image does not fit into memory."""
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
def decode(model: Diffusion, latents: Tensor) -> Tensor:
    """Scaled latents BChw -> pixels B3HW, float32; 0 is black and 1 white; values outside [0, 1] and values that are
    not finite occur."""
    scaled = (latents / model.vae.config.scaling_factor).contiguous(memory_format=torch.channels_last)
    area = latents.shape[-2:].numel() * model.factor**2
    return _in_slices(lambda part: model.vae.decode(part, return_dict=False)[0], scaled, area) / 2 + 0.5


def as_images(pixels: Tensor) -> list[Image]:
    """Pixels B3HW, 0 black and 1 white -> uint8 HWC images; values are clipped to [0, 1], those not finite become 0."""
    levels = (pixels.nan_to_num(0, 0, 0).clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _in_slices(work: Callable[[Tensor], Tensor], batch: Tensor, area: int) -> Tensor:
    """Apply `work` to slices of the batch with at most VAE_PIXELS pixels (`area` pixels per row)."""
    return torch.cat([work(part) for part in torch.split(batch, max(1, VAE_PIXELS // area))])


def _pixels(images: Sequence[Image]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
