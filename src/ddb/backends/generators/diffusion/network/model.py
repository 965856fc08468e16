"""The frozen parts of a latent diffusion model, and one pass of its UNet: the same for painting and for learning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ddb.backends.generators.diffusion.network.noising import Noising
from ddb.backends.generators.diffusion.network.unet import Conditions, OnePass, one_pass
from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.text import Text
from ddb.learn.device import Runtime

KERNELS = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


@dataclass(frozen=True)
class Diffusion:
    """A model that painting and textual inversion share; neither changes it. `prompts` hold no learned token
    (`Prompts.with_tokens` adds them).

    The UNet runs in the runtime's dtype, the VAE in `loading.vae_dtype`, the text encoders in float32, since they run
    once a prompt and their rounding would show in tokens. `one_pass`: `unet.one_pass`, compiled or not."""

    unet: Any
    vae: Any
    prompts: Prompts
    schedule: dict[str, Any]
    runtime: Runtime
    identity: str
    one_pass: OnePass = one_pass

    def compiled(self) -> Diffusion:
        """The same model with a compiled pass, one static shape after another."""
        return replace(self, one_pass=torch.compile(one_pass, dynamic=False))

    @cached_property
    def noising(self) -> Noising:
        """The model's noise schedule, for learning."""
        return Noising.of(self.schedule, self.runtime.device)

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
        """The output of the UNet for `inputs` [B, C, h, w], float32: a row for each row of `text`, a multiple of B.
        `times`: one number, or [B]. `guidance` counts for distilled models alone."""
        return self.predict_from(inputs, times, text, guidance)[0]

    def predict_from(
        self, inputs: Tensor, times: Tensor, text: Text, guidance: float = 1.0, deep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`predict`, and the deep features of the pass; with `deep`, those of another pass are used (`one_pass`)."""
        inputs = inputs.to(self.runtime.dtype).contiguous(memory_format=torch.channels_last)
        conditions = Conditions(
            text.hidden.to(self.runtime.dtype),
            self._guidance_condition(guidance) if self.distilled else None,
            self._size_conditions(text.pooled, inputs) if text.pooled is not None else None,
        )
        with attention_kernels(self.runtime):
            output, deep = self.one_pass(self.unet, inputs, times, conditions, deep)
        return output.float(), deep

    def _size_conditions(self, pooled: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Stable Diffusion XL's conditions (arXiv 2307.01952, section 2.2): original size, crop corner, target size.
        The whole square counts as an original of its size."""
        height, width = (side * self.factor for side in inputs.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=inputs.device)
        return {"text_embeds": pooled.to(inputs.dtype), "time_ids": sizes.expand(len(pooled), -1)}

    def _guidance_condition(self, guidance: float) -> Tensor:
        """Guidance as an input (arXiv 2310.04378, section 4.3): sines and cosines of 1000 (guidance - 1), [1, d]."""
        scales = torch.full((1,), 1000 * (guidance - 1), device=self.runtime.device)
        width = int(self.unet.config.time_cond_proj_dim)
        embedded: Tensor = get_timestep_embedding(scales, width, downscale_freq_shift=1)
        return embedded.to(self.runtime.dtype)


@contextmanager
def attention_kernels(runtime: Runtime) -> Iterator[None]:
    """Context in which attention on CUDA prefers cuDNN's kernel, then FlashAttention: both never store the matrix of
    scores. A kernel that does not support a layer's shape is passed over. No effect on other devices."""
    if runtime.device.type != "cuda":
        yield
        return
    with sdpa_kernel(KERNELS, set_priority=True):
        yield
