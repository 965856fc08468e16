"""Learning a class token (paper, inversion; method section 3): every weight is frozen, only the token's vectors move.

Loss: || target - UNet(z_t, t, text(prompt)) ||^2 inside the mask, target = noise or velocity as the model was trained;
cells of the mask that hold no part of the object count little, else the token learns the object's usual background.
Images are encoded once, mirrored ones too; a 9-channel UNet sees the hidden region and the rest of the image, as when
it paints. The vectors with the lowest held-out loss, over fixed images, times and noise, are kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from torch import Tensor, nn

from ddb.backends import Learned, Lesson, Mask
from ddb.backends.latent_diffusion import canvas, check_size
from ddb.backends.latent_diffusion_geometry import take, window
from ddb.backends.latent_diffusion_loading import Diffusion
from ddb.config import InpaintConfig, InvertConfig
from ddb.errors import StageFailed

HELD_OUT_EVERY = 5
"""One image in this many is held out, where there are that many."""
HELD_OUT_PAIRS = 48
"""Fixed (image, time, noise) triples of the held-out loss; times spread evenly over the schedule."""
NORM_LIMIT = 2.0
"""Vectors stay below this many times the 95% quantile of the norms in the embedding table."""
FP16_GRADIENT_SCALE = 2.0**12
BACKGROUND_WEIGHT = 0.1
"""Weight of a masked cell without a part of the object, where the object is known; cells with one have weight 1."""
INIT_NOISE = 0.01
"""Share of an initial vector's norm that is added as noise, so that several vectors can part."""


@dataclass(frozen=True)
class Views:
    """Encoded images and their mirror images, float32 on the device: latents and (9 channels) masked latents NChw,
    mask N1hw (1 where the image is hidden) and weight N1hw (of each cell in the loss, 0 outside the mask)."""

    latents: Tensor
    mask: Tensor
    weight: Tensor
    masked: Tensor | None

    def pick(self, rows: Tensor) -> Views:
        masked = None if self.masked is None else self.masked[rows]
        return Views(self.latents[rows], self.mask[rows], self.weight[rows], masked)


@dataclass(frozen=True)
class TextualInversion:
    """An Inverter over an open diffusion model. `painting` gives image size, crop and the prompt's template."""

    model: Diffusion
    settings: InvertConfig
    painting: InpaintConfig

    def __post_init__(self) -> None:
        check_size(self.model, self.painting.image_size)

    def load_tokens(self, files: dict[str, Path]) -> None:
        """Make learned tokens usable in prompts."""
        for token, file in files.items():
            self.model.prompts.load(token, file)

    def learn(self, lesson: Lesson, folder: Path) -> Learned:
        """Learn the token of a class, write it as `folder`/token-<label>.safetensors and make it usable in prompts.

        ValueError without images; StageFailed if the loss is not finite.
        """
        token = f"<ddb-{lesson.label}>"
        views = encode_views(self.model, self.painting, lesson, self.settings.inside_mask)
        vectors, losses = self._fit(token, lesson, views)
        file = folder / f"token-{lesson.label}.safetensors"
        fresh = file.with_suffix(".tmp")
        save_file({token: vectors.cpu().contiguous()}, fresh)
        os.replace(fresh, file)
        self.model.prompts.add(token, vectors)
        return Learned(token, file, losses)

    def _fit(self, token: str, lesson: Lesson, views: Views) -> tuple[Tensor, list[float]]:
        """The best vectors [n, width] and the held-out losses, the first one before any step."""
        draw = torch.Generator().manual_seed(lesson.seed)
        prompts, settings = self.model.prompts, self.settings
        start = prompts.initial(settings.init or lesson.phrase, settings.vectors)
        spread = torch.randn(start.shape, generator=draw).to(start.device) / start.shape[1] ** 0.5
        start = start + INIT_NOISE * start.norm(dim=1, keepdim=True) * spread
        prompts.add(token, start)
        ids = prompts.ids(self.painting.template.format(token=token, phrase=lesson.phrase))
        training, held_out = _split(len(lesson.images))
        fixed = _fixed_pairs(held_out, views, self._times(), draw)
        vectors = nn.Parameter(start.clone())
        optimiser = torch.optim.AdamW([vectors], lr=settings.lr, weight_decay=0.0)
        limit = NORM_LIMIT * float(torch.quantile(prompts.table.float().norm(dim=1), 0.95))
        losses = [self._held_out(ids, token, vectors, views, fixed)]
        best, best_loss = vectors.detach().clone(), losses[0]
        for step in range(1, settings.steps + 1):
            rows = training[torch.randint(len(training), (settings.batch_size,), generator=draw)]
            batch = views.pick(rows.to(views.latents.device))
            times = torch.randint(self._times(), (settings.batch_size,), generator=draw)
            noise = torch.randn(batch.latents.shape, generator=draw)
            hidden = prompts.embed(ids, {token: vectors})
            loss = denoising_loss(self.model, hidden, batch, times, noise)
            optimiser.zero_grad(set_to_none=True)
            (loss * self._gradient_scale()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            _clamp(vectors, limit)
            if step % settings.check_every == 0 or step == settings.steps:
                losses.append(self._held_out(ids, token, vectors, views, fixed))
                if not np.isfinite(losses[-1]):
                    raise StageFailed(f"token {token}: the loss is not finite at step {step}; lower invert.lr.")
                if losses[-1] < best_loss:
                    best, best_loss = vectors.detach().clone(), losses[-1]
        return best, losses

    def _gradient_scale(self) -> float:
        """Keeps gradients inside float16's range; AdamW's steps do not depend on it."""
        return FP16_GRADIENT_SCALE if self.model.runtime.dtype == torch.float16 else 1.0

    def _times(self) -> int:
        return int(self.model.schedule.get("num_train_timesteps", 1000))

    @torch.no_grad()
    def _held_out(
        self, ids: Tensor, token: str, vectors: Tensor, views: Views, fixed: tuple[Tensor, Tensor, Tensor]
    ) -> float:
        hidden = self.model.prompts.embed(ids, {token: vectors})
        rows, times, noise = fixed
        total = 0.0
        for at in range(0, len(rows), self.settings.batch_size):
            part = slice(at, at + self.settings.batch_size)
            batch = views.pick(rows[part].to(views.latents.device))
            total += float(denoising_loss(self.model, hidden, batch, times[part], noise[part])) * len(rows[part])
        return total / len(rows)


def denoising_loss(model: Diffusion, hidden: Tensor, views: Views, times: Tensor, noise: Tensor) -> Tensor:
    """Weighted mean squared error inside the mask, every image counted alike. `hidden` [1, length, width], `times`
    int64 [B], `noise` BChw; differentiable in `hidden`."""
    device = views.latents.device
    times, noise = times.to(device), noise.to(device)
    schedule = DDPMScheduler.from_config(model.schedule)
    inputs = schedule.add_noise(views.latents, noise, times)
    if views.masked is not None:
        inputs = torch.cat([inputs, views.mask, views.masked], dim=1)
    inputs = inputs.to(model.runtime.dtype).contiguous(memory_format=torch.channels_last)
    text = hidden.to(model.runtime.dtype).expand(len(times), -1, -1)
    output = model.unet(inputs, times, encoder_hidden_states=text, return_dict=False)[0].float()
    kind = model.schedule.get("prediction_type", "epsilon")
    target = schedule.get_velocity(views.latents, noise, times) if kind == "v_prediction" else noise
    error = ((output - target) ** 2).mean(dim=1, keepdim=True)
    loss: Tensor = ((views.weight * error).sum(dim=(1, 2, 3)) / views.weight.sum(dim=(1, 2, 3))).mean()
    return loss


def encode_views(model: Diffusion, painting: InpaintConfig, lesson: Lesson, inside_mask: bool) -> Views:
    """Encode a lesson's images, then their mirror images: row i + n is image i mirrored. ValueError without images."""
    if not lesson.images:
        raise ValueError(f"class {lesson.label}: no image to learn a token from")
    images, masks, objects = [], [], []
    causal = lesson.objects or [None] * len(lesson.images)
    for image, found, part in zip(lesson.images, lesson.masks, causal, strict=True):
        usable = inside_mask and found is not None and found.any()
        mask = found if usable and found is not None else np.ones(image.shape[:2], np.bool_)
        area = window(mask, painting.crop)
        square, hole = take(image, mask, area, painting.image_size)
        images.append(square)
        masks.append(hole)
        inside = mask & part if usable and part is not None else mask
        objects.append(take(image, inside if inside.any() else mask, area, painting.image_size)[1])
    images, masks, objects = (
        [*arrays, *(np.ascontiguousarray(array[:, ::-1]) for array in arrays)] for arrays in (images, masks, objects)
    )
    size = painting.batch_size
    parts = [canvas(model, images[at : at + size], masks[at : at + size], True) for at in range(0, len(images), size)]
    known_latents = [part.known for part in parts if part.known is not None]
    masked = [part.masked for part in parts if part.masked is not None]
    mask_cells = torch.cat([part.mask for part in parts])
    weight = mask_cells * (BACKGROUND_WEIGHT + (1 - BACKGROUND_WEIGHT) * _cells(objects, model.factor).to(mask_cells))
    return Views(torch.cat(known_latents), mask_cells, weight, torch.cat(masked) if masked else None)


def _cells(masks: Sequence[Mask], factor: int) -> Tensor:
    """Masks at the latents' size, N1hw: 1 where any pixel of a cell is set."""
    return torch.nn.functional.max_pool2d(torch.from_numpy(np.stack(masks))[:, None].float(), factor)


def _split(images: int) -> tuple[Tensor, Tensor]:
    """Rows of the views to learn from and to hold out, mirror images beside their originals."""
    every = torch.arange(images)
    held = every[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    kept = every[(every + 1) % HELD_OUT_EVERY != 0]
    held = held if len(held) else every
    return torch.cat([kept, kept + images]), torch.cat([held, held + images])


def _fixed_pairs(rows: Tensor, views: Views, times: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, times and noise of the held-out loss."""
    picked = rows[torch.arange(HELD_OUT_PAIRS) % len(rows)]
    spread = ((torch.arange(HELD_OUT_PAIRS) + 0.5) / HELD_OUT_PAIRS * times).long()
    order = torch.randperm(HELD_OUT_PAIRS, generator=draw)
    return picked, spread[order], torch.randn((HELD_OUT_PAIRS, *views.latents.shape[1:]), generator=draw)


@torch.no_grad()
def _clamp(vectors: Tensor, limit: float) -> None:
    norms = vectors.norm(dim=1, keepdim=True)
    vectors.mul_((limit / norms).clamp(max=1.0))
