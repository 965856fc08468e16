"""Counterfactuals by latent diffusion inpainting, through diffusers' models (Stable Diffusion 1.5, 2 and XL, UNets of
9 and of 4 channels).

Everything that does not change between steps is computed once: prompts, latents, masked latents. Nothing waits for the
device between a batch's inputs and its finished paintings. Batches have a fixed shape, and item n of a batch
depends on task n alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ddb.backends import Failed, Image, Mask, Painted, Task
from ddb.backends.batches import Rooms, in_fixed_batches, not_finite
from ddb.backends.generators.diffusion.flat import flat_colour
from ddb.backends.generators.diffusion.geometry import Window, paste_back, take, window
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.sampling import Canvas, check_steps, sample
from ddb.backends.generators.diffusion.text import Text, joined
from ddb.config import LatentDiffusionConfig
from ddb.errors import ConfigError, ModelError
from ddb.learn.classifier import to_tensor
from ddb.learn.transfers import Fetched, fetched

VAE_PIXELS = 1024 * 1024
"""Pixels that go through the VAE at once: in float32 it needs about 2 GB for a 512 x 512 image."""
GREY = 127


@dataclass(frozen=True)
class Square:
    """A task at the generator's size: pixels uint8 HWC and mask bool HW. `area`: where the result is pasted back. A
    blank has neither task nor area."""

    pixels: Image
    hole: Mask
    task: Task | None = None
    area: Window | None = None


@dataclass(frozen=True)
class Prompted:
    """A square with its embedded prompt, and that from which guidance leads away."""

    square: Square
    text: Text
    against: Text


@dataclass(frozen=True)
class Rendered:
    """The painting of a square: row `row` of a batch's `pixels` (uint8 BHWC) and of its `checks`: what was checked, the
    dtype in which it was computed, whether it is finite [B]."""

    square: Square
    row: int
    pixels: Fetched
    checks: Sequence[tuple[str, torch.dtype, Fetched]]


@dataclass(frozen=True)
class LatentDiffusion:
    """A Generator: paints a square of `settings.image_size` px and pastes the result into the source. `prompts` hold
    the learned tokens that tasks may name. ConfigError if the settings do not fit the model.

    A task fails alone: an empty mask, an unknown token, a prompt that is too long, a model whose output is not finite,
    a painting of one flat colour."""

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

    def prepare(self, tasks: Sequence[Task | Failed]) -> list[Square | Failed]:
        """A square for each task."""
        return [task if isinstance(task, Failed) else self._square(task) for task in tasks]

    def paint(self, prepared: Sequence[Square | Failed], batch_size: int) -> list[Rendered | Failed]:
        """A painting for each square, in batches of exactly `batch_size`. OutOfMemory where one square does not fit
        into memory."""
        squares = [one if isinstance(one, Failed) else self._prompted(one) for one in prepared]
        return in_fixed_batches(self.render, squares, self.blank, self._rooms.of(batch_size))

    def finish(self, painted: Sequence[Rendered | Failed]) -> list[Painted | Failed]:
        """The paintings, pasted into their sources."""
        return [one if isinstance(one, Failed) else self._put_back(one) for one in painted]

    @cached_property
    def _rooms(self) -> Rooms:
        return Rooms("inpaint.batch_size", remedy(self.settings))

    def _square(self, task: Task) -> Square | Failed:
        try:
            area = window(task.mask, self.settings.crop)
        except ValueError as error:
            return Failed(str(error))
        pixels, hole = take(task.image, task.mask, area, self.settings.image_size)
        return Square(pixels, hole, task, area)

    @cached_property
    def blank(self) -> Prompted:
        """A grey square, which replaces failed tasks and pads the last batch."""
        side = (self.settings.image_size,) * 2
        square = Square(np.full((*side, 3), GREY, np.uint8), np.ones(side, np.bool_))
        return Prompted(square, self.prompts.encode(""), self.prompts.encode_against(""))

    def _prompted(self, square: Square) -> Prompted | Failed:
        assert square.task is not None, "what is prepared has a task"
        try:
            text = self.prompts.encode(square.task.prompt)
            return Prompted(square, text, self.prompts.encode_against(square.task.against))
        except ModelError as error:
            return Failed(str(error))

    def render(self, batch: Sequence[Prompted]) -> list[Rendered]:
        """A painting for each square of a batch."""
        model, squares = self.model, [one.square for one in batch]
        text, against = joined([one.text for one in batch]), joined([one.against for one in batch])
        board = canvas(
            model, [one.pixels for one in squares], [one.hole for one in squares], self.settings.strength < 1
        )
        draws = [torch.Generator().manual_seed(one.task.seed if one.task else 0) for one in squares]
        latents = sample(model, self.settings, text, against, draws, board)
        pixels = decode(model, latents)
        tensors = [
            ("the text encoder's output", torch.float32, text.hidden),
            ("the text encoder's output", torch.float32, against.hidden),
            ("the VAE's encoding", model.vae.dtype, board.masked),
            ("the VAE's encoding", model.vae.dtype, board.known),
            ("the UNet's output", model.runtime.dtype, latents),
            ("the VAE's output", model.vae.dtype, pixels),
        ]
        checks = [
            (what, dtype, fetched(tensor.isfinite().flatten(1).all(1)))
            for what, dtype, tensor in tensors
            if tensor is not None
        ]
        levels = fetched(as_levels(pixels))
        return [Rendered(square, row, levels, checks) for row, square in enumerate(squares)]

    def _put_back(self, rendered: Rendered) -> Painted | Failed:
        for what, dtype, finite in rendered.checks:
            if not finite()[rendered.row]:
                return not_finite(what, dtype)
        square, image = rendered.square, rendered.pixels()[rendered.row]
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
    pixels = to_tensor(np.stack(images), model.runtime.device) / 127.5 - 1
    holes = to_tensor(np.stack(masks)[..., None].view(np.uint8), model.runtime.device)
    return Canvas(
        mask=torch.nn.functional.max_pool2d(holes, model.factor),
        masked=encode(model, pixels * (1 - holes)) if model.inpainting else None,
        known=encode(model, pixels) if with_known or not model.inpainting else None,
    )


@torch.no_grad()
def encode(model: Diffusion, pixels: Tensor) -> Tensor:
    """Pixels B3HW in [-1, 1] -> scaled latents BChw, float32: the posterior's mode, so no draw is involved."""
    pixels = pixels.to(model.vae.dtype).contiguous(memory_format=torch.channels_last)
    latents = _in_slices(lambda part: model.vae.encode(part).latent_dist.mode(), pixels, pixels.shape[-2:].numel())
    return latents.float() * float(model.vae.config.scaling_factor)


@torch.no_grad()
def decode(model: Diffusion, latents: Tensor) -> Tensor:
    """Scaled latents BChw -> pixels B3HW, float32; 0 is black and 1 white; values outside [0, 1] and values that are
    not finite occur."""
    scaled = (latents / model.vae.config.scaling_factor).to(model.vae.dtype)
    scaled = scaled.contiguous(memory_format=torch.channels_last)
    area = latents.shape[-2:].numel() * model.factor**2
    return _in_slices(lambda part: model.vae.decode(part, return_dict=False)[0], scaled, area).float() / 2 + 0.5


def as_levels(pixels: Tensor) -> Tensor:
    """Pixels B3HW, 0 black and 1 white -> uint8 BHWC; values are clipped to [0, 1], those not finite become 0."""
    levels = (pixels.nan_to_num(0, 0, 0).clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous()


def _in_slices(work: Callable[[Tensor], Tensor], batch: Tensor, area: int) -> Tensor:
    """Apply `work` to slices of the batch with at most VAE_PIXELS pixels (`area` pixels per row)."""
    return torch.cat([work(part) for part in torch.split(batch, max(1, VAE_PIXELS // area))])
