"""The noise schedule of a latent diffusion model, on its device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor


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
