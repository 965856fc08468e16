"""The loss that a latent diffusion model is trained with, for learning a token: of random images, times and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddb.backends.generators.diffusion.learning.views import Views
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.text import Text
from ddb.learn.transfers import sent


@dataclass(frozen=True)
class Noised:
    """Inputs of a denoising loss: rows of the views and times int64 [n], noise nChw float32, drawn on the CPU."""

    rows: Tensor
    times: Tensor
    noise: Tensor

    def pick(self, part: Sequence[int]) -> Noised:
        picked = torch.tensor(part)
        return Noised(self.rows[picked], self.times[picked], self.noise[picked])

    def on(self, device: torch.device) -> Noised:
        """The same inputs on a device; the copies overlap with what the device computes."""
        return Noised(*(sent(one, device) for one in (self.rows, self.times, self.noise)))


def denoising_losses(model: Diffusion, text: Text, views: Views, batch: Noised) -> Tensor:
    """Weighted mean squared error inside the mask, of every image [n]. `text`: one prompt; differentiable in it."""
    batch = batch.on(views.latents.device)
    views = views.pick(batch.rows)
    inputs, target = model.noising.at(batch.times, views.latents, batch.noise)
    if views.masked is not None:
        inputs = torch.cat([inputs, views.mask, views.masked], dim=1)
    output = model.predict(inputs, batch.times, text.to(model.runtime.dtype).expand(len(batch.times)))
    error = ((output - target) ** 2).mean(dim=1, keepdim=True)
    losses: Tensor = (views.weight * error).sum(dim=(1, 2, 3)) / views.weight.sum(dim=(1, 2, 3))
    return losses
