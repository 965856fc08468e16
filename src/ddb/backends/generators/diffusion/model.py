"""The frozen parts of a latent diffusion model, and one pass of its UNet: the same for painting and for learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.text import Text
from ddb.learn.device import Runtime


@dataclass(frozen=True)
class Diffusion:
    """A model that painting and textual inversion share; neither changes it. `prompts` hold no learned token
    (`Prompts.with_tokens` adds them).

    The UNet runs in the runtime's dtype; VAE and text encoders in float32, since they run once an image or prompt,
    their rounding would show in pixels and tokens, and Stable Diffusion XL's VAE overflows in float16."""

    unet: Any
    vae: Any
    prompts: Prompts
    schedule: dict[str, Any]
    runtime: Runtime
    identity: str

    @property
    def inpainting(self) -> bool:
        """True for a 9-channel UNet (sees mask and masked image), False for a 4-channel one."""
        return int(self.unet.config.in_channels) != self.latent_channels

    @property
    def distilled(self) -> bool:
        """True where guidance is an input of the UNet (latent consistency models), so that no second pass is needed."""
        return self.unet.config.time_cond_proj_dim is not None

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Side of a latent cell, pixels."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def predict(self, inputs: Tensor, times: Tensor, text: Text, guidance: float = 1.0) -> Tensor:
        """One pass of the UNet: `inputs` B,C,h,w, repeated to as many rows as `text` has (guidance); `times` a number
        or [B] -> float32. `guidance` counts for distilled models alone."""
        rows = len(text.hidden)
        text = text.to(self.runtime.dtype)
        inputs = inputs.to(self.runtime.dtype).repeat(rows // len(inputs), 1, 1, 1)
        output: Tensor = self.unet(
            inputs.contiguous(memory_format=torch.channels_last),
            times,
            encoder_hidden_states=text.hidden,
            timestep_cond=self._guidance_condition(guidance, rows) if self.distilled else None,
            added_cond_kwargs=self._size_conditions(text.pooled, inputs) if text.pooled is not None else None,
            return_dict=False,
        )[0]
        return output.float()

    def _size_conditions(self, pooled: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Stable Diffusion XL's conditions (arXiv 2307.01952, section 2.2): original size, crop corner, target size.
        The whole square counts as an original of its size."""
        height, width = (side * self.factor for side in inputs.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=inputs.device)
        return {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}

    def _guidance_condition(self, guidance: float, rows: int) -> Tensor:
        """Guidance as an input (arXiv 2310.04378, section 4.3): sines and cosines of 1000 (guidance - 1)."""
        scales = torch.full((rows,), 1000 * (guidance - 1), device=self.runtime.device)
        width = int(self.unet.config.time_cond_proj_dim)
        embedded: Tensor = get_timestep_embedding(scales, width, downscale_freq_shift=1)
        return embedded.to(self.runtime.dtype)
