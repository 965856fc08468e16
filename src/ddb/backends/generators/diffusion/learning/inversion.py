"""Textual inversion of a class token (paper, inversion; method section 3): all weights are frozen, only the token's
vectors are trained.

Loss: || target - UNet(z_t, t, text(prompt)) ||^2 inside the mask; target: noise or velocity, by the model's prediction
type. Cells of the mask far from the object have a low weight, so that the token does not learn the object's usual
background. Images and their mirror images are encoded once. A 9-channel UNet gets the mask and the masked image, as
when it paints. For Stable Diffusion XL vectors of both text encoders are trained together. The held-out loss, over
fixed images, times and noise, decides which vectors are kept (`kept_check`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor, nn

from ddb.backends import Learned, Lesson
from ddb.backends.batches import not_finite
from ddb.backends.generators.diffusion.generator import check_size, remedy
from ddb.backends.generators.diffusion.learning.denoising import Noised, denoising_losses
from ddb.backends.generators.diffusion.learning.views import Views, encode_views, split
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.text import Placed, plain_words
from ddb.backends.generators.diffusion.tokens import Rows, read_token, write_token
from ddb.config import InvertConfig, LatentDiffusionConfig
from ddb.errors import StageFailed
from ddb.learn.halving import BatchSize, batches

HELD_OUT_PAIRS = 48
"""Fixed (image, time, noise) triples of the held-out loss; times spread evenly over the schedule."""
NORM_LIMIT = 2.0
"""Largest norm of a vector, as a multiple of the 95% quantile of the norms in the embedding table."""
CHECKED_AT_ONCE = 16
"""Triples of the held-out loss in one pass, which needs no gradient; halved where memory runs out."""
FP16_GRADIENT_SCALE = 2.0**12
INIT_NOISE = 0.01
"""Norm of the noise added to an initial vector, as a share of its norm, so that several vectors can diverge."""


@dataclass(frozen=True)
class Subject:
    """Constants of learning a token: the prompts that include it, the prompt's ids with the places of its vectors, the
    encoded images."""

    prompts: Prompts
    placed: tuple[Placed, ...]
    views: Views


@dataclass(frozen=True)
class TextualInversion:
    """An Inverter over an open diffusion model. `painting` gives image size, crop and the prompt's template."""

    model: Diffusion
    settings: InvertConfig
    painting: LatentDiffusionConfig

    def __post_init__(self) -> None:
        check_size(self.model, self.painting.image_size)

    def adopt(self, label: int, file: Path, folder: Path) -> Learned:
        """Take a token that was learned elsewhere, and write it as `learn` does.

        ModelError if the file cannot be read or its vectors do not fit the model's text encoders.
        """
        token, prompts = token_name(label), self.model.prompts
        rows = read_token(token, file, len(prompts.encoders))
        prompts.with_tokens({token: rows})  # ModelError if they do not fit
        return _written(label, rows, folder, [])

    def learn(self, lesson: Lesson, folder: Path) -> Learned:
        """Learn the token of a class and write it as `folder`/token-<label>.safetensors. The model is not changed.

        ValueError without images; StageFailed if the loss is not finite; OutOfMemory if one image does not fit.
        """
        views = encode_views(self.model, self.painting, lesson, self.settings.inside_mask)
        rows, losses = self.fit(lesson, views)
        return _written(lesson.label, rows, folder, losses)

    def fit(self, lesson: Lesson, views: Views) -> tuple[Rows, list[float]]:
        """The kept vectors [n, width], one tensor an encoder, and the held-out losses, the first before any step."""
        draw = torch.Generator().manual_seed(lesson.seed)
        settings, token, phrase = self.settings, token_name(lesson.label), plain_words(lesson.phrase)
        initial = self.model.prompts.initial(settings.init or phrase, settings.vectors)
        vectors = [nn.Parameter(_parted(rows, draw)) for rows in initial]
        prompts = self.model.prompts.with_tokens({token: vectors})
        placed = prompts.placed(prompts.ids(self.painting.template.format(token=token, phrase=phrase)), prompts.tokens)
        subject = Subject(prompts, placed, views)
        training, held_out = split(len(lesson.images))
        fixed = _held_out_batch(held_out, views, self._times(), draw)
        optimiser = torch.optim.AdamW(vectors, lr=settings.lr, weight_decay=0.0)
        limits = [NORM_LIMIT * float(torch.quantile(one.table.norm(dim=1), 0.95)) for one in prompts.encoders]
        checks = [self._held_out(subject, vectors, fixed)]
        if not np.isfinite(checks[0]).all():
            cause = not_finite("the UNet's output or an encoded image", self.model.runtime.dtype)
            raise StageFailed(f"token {token}: no loss before the first step: {cause.reason}")
        states = [self._kept(vectors)]
        for step in range(1, settings.steps + 1):
            rows = training[torch.randint(len(training), (settings.batch_size,), generator=draw)]
            times = torch.randint(self._times(), (settings.batch_size,), generator=draw)
            noise = torch.randn((len(rows), *views.latents.shape[1:]), generator=draw)
            self._put_gradients(subject, vectors, Noised(rows, times, noise))
            optimiser.step()
            _clamp(vectors, limits)
            if step % settings.check_every == 0 or step == settings.steps:
                checks.append(self._held_out(subject, vectors, fixed))
                states.append(self._kept(vectors))
                if not np.isfinite(checks[-1]).all():
                    raise StageFailed(f"token {token}: the loss is not finite at step {step}; lower invert.lr.")
        return states[kept_check(np.stack(checks))], [float(losses.mean()) for losses in checks]

    def _put_gradients(self, subject: Subject, vectors: Sequence[nn.Parameter], batch: Noised) -> None:
        """Compute the gradient of the batch's mean loss, summed over halves where memory runs out."""
        count = len(batch.rows)

        def of_part(part: Sequence[int]) -> tuple[Tensor, ...]:
            share = self._gradient_scale() * (len(part) / count)
            loss = self._losses(subject, vectors, batch.pick(part)).mean()
            return torch.autograd.grad(loss * share, vectors)

        gradients = list(batches(of_part, range(count), self._room))
        for vector, parts in zip(vectors, zip(*gradients, strict=True), strict=True):
            vector.grad = parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)

    @torch.no_grad()
    def _held_out(self, subject: Subject, vectors: Sequence[Tensor], fixed: Noised) -> npt.NDArray[np.float64]:
        """The mean loss of every held-out image, mirrored or not."""

        def of_part(part: Sequence[int]) -> Tensor:
            return self._losses(subject, vectors, fixed.pick(part)).cpu()

        losses = torch.cat(list(batches(of_part, range(len(fixed.rows)), self._checking_room))).double()
        images = fixed.rows % (len(subject.views.latents) // 2)
        return np.array([float(losses[images == image].mean()) for image in sorted(set(images.tolist()))])

    @cached_property
    def _room(self) -> BatchSize:
        return BatchSize(self.settings.batch_size, "invert.batch_size", remedy(self.painting))

    @cached_property
    def _checking_room(self) -> BatchSize:
        return BatchSize(CHECKED_AT_ONCE, "batches of", remedy(self.painting))

    def _losses(self, subject: Subject, vectors: Sequence[Tensor], batch: Noised) -> Tensor:
        text = subject.prompts.embed_placed(subject.placed, [self._stored(vector) for vector in vectors])
        return denoising_losses(self.model, text, subject.views, batch)

    def _stored(self, vectors: Tensor) -> Tensor:
        """The vectors rounded to the dtype of their file, with a straight-through gradient."""
        if self.settings.rows == "fp32":
            return vectors
        return vectors + (vectors.to(torch.bfloat16).float() - vectors).detach()

    def _kept(self, vectors: Sequence[Tensor]) -> Rows:
        """Copies of the vectors in the dtype of the file."""
        dtype = torch.float32 if self.settings.rows == "fp32" else torch.bfloat16
        return tuple(vector.detach().to(dtype, copy=True) for vector in vectors)

    def _gradient_scale(self) -> float:
        """Factor that keeps gradients in float16's range; AdamW's steps do not depend on it."""
        return FP16_GRADIENT_SCALE if self.model.runtime.dtype == torch.float16 else 1.0

    def _times(self) -> int:
        return int(self.model.schedule.get("num_train_timesteps", 1000))


def _written(label: int, rows: Rows, folder: Path, losses: list[float]) -> Learned:
    token = token_name(label)
    return Learned(token, write_token(token, rows, folder / f"token-{label}.safetensors"), losses)


def token_name(label: int) -> str:
    """The token's name in prompts; never the class's name, which a tokenizer may know or split."""
    return f"<ddb-{label}>"


def kept_check(losses: npt.NDArray[np.float64]) -> int:
    """Index of the check whose vectors are kept: the last one that is not significantly worse than the check with the
    lowest mean loss. `losses` [checks, images]: the held-out loss of every image.

    Significance: one-sided paired t-test over the images at 5%. A token changes the loss by less than the loss varies
    between images, so the lowest mean alone is often that of the first check, before any step.
    """
    excess = losses - losses[losses.mean(axis=1).argmin()]
    images = losses.shape[1]
    limit = stats.t.ppf(0.95, images - 1) * stats.sem(excess, axis=1) if images > 1 else np.zeros(len(losses))
    return int(np.flatnonzero(excess.mean(axis=1) <= limit)[-1])


def _parted(rows: Tensor, draw: torch.Generator) -> Tensor:
    """Initial vectors with noise of relative norm `INIT_NOISE`."""
    spread = torch.randn(rows.shape, generator=draw).to(rows.device) / rows.shape[1] ** 0.5
    parted: Tensor = rows + INIT_NOISE * rows.norm(dim=1, keepdim=True) * spread
    return parted


def _held_out_batch(rows: Tensor, views: Views, times: int, draw: torch.Generator) -> Noised:
    """The inputs of the held-out loss."""
    picked = rows[torch.arange(HELD_OUT_PAIRS) % len(rows)]
    spread = ((torch.arange(HELD_OUT_PAIRS) + 0.5) / HELD_OUT_PAIRS * times).long()
    order = torch.randperm(HELD_OUT_PAIRS, generator=draw)
    return Noised(picked, spread[order], torch.randn((HELD_OUT_PAIRS, *views.latents.shape[1:]), generator=draw))


@torch.no_grad()
def _clamp(vectors: Sequence[Tensor], limits: Sequence[float]) -> None:
    for rows, limit in zip(vectors, limits, strict=True):
        rows.mul_((limit / rows.norm(dim=1, keepdim=True)).clamp(max=1.0))
