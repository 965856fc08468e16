"""The loss that a latent diffusion model is trained with, for learning a token: of random images, times and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from ddb.backends.generators.diffusion.text import Text
from ddb.learn.transfers import to_device

if TYPE_CHECKING:
    from ddb.backends.generators.diffusion.model import Diffusion
    from ddb.backends.generators.diffusion.views import Views


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
        return Noised(*(to_device(one, device) for one in (self.rows, self.times, self.noise)))


@dataclass(frozen=True)
class Noising:
    """A noise schedule: `signal` and `noise` float32 [times], the factors of image and noise at each time, on the
    device; `velocity`: whether the model predicts the velocity (else the noise)."""

    signal: Tensor
    noise: Tensor
    velocity: bool

    @staticmethod
    def of(schedule: Mapping[str, Any], device: torch.device) -> Noising:
        """From the settings of a diffusers scheduler."""
        products = DDPMScheduler.from_config(schedule).alphas_cumprod.double()
        signal, noise = (root.float().to(device) for root in (products.sqrt(), (1 - products).sqrt()))
        return Noising(signal, noise, schedule.get("prediction_type", "epsilon") == "v_prediction")

    def at(self, times: Tensor, latents: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Latents nChw with noise at `times` [n], and what the model should predict there."""
        signal, share = (factors[times].view(-1, 1, 1, 1) for factors in (self.signal, self.noise))
        return signal * latents + share * noise, signal * noise - share * latents if self.velocity else noise


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
