"""The sampler: diffusers' schedulers driven over latents encoded before (paper, inpainting; method section 5).

A 9-channel UNet sees latents, mask and masked latents. A 4-channel one has the known region put back at every step:
z_t = (1 - M) z_0_t + M z_t, where z_0_t is the image's latent with the same noise at the next step's level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from ddb.backends.latent_diffusion_loading import Diffusion
from ddb.config import InpaintConfig
from ddb.errors import ConfigError

SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "dpmpp": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
}
"""Class, and the settings that latents need whatever the model's own scheduler was."""
COSINE_FLOOR = -5.1
"""Smallest log signal-to-noise ratio of multistep solvers on the cosine schedule (diffusers' own advice)."""


@dataclass(frozen=True)
class Canvas:
    """What a batch is painted on. All float32 on the device; `masked` for 9 channels, `known` for 4 channels and for
    strength < 1, else None. Latents are B,C,h,w and scaled; mask B1hw is 1 where it is repainted."""

    mask: Tensor
    masked: Tensor | None
    known: Tensor | None


def build_scheduler(schedule: Mapping[str, Any], name: str) -> Any:
    """A fresh scheduler with the model's own noise schedule and prediction type."""
    kind, fixed = SCHEDULERS[name]
    own = dict(schedule)
    if own.get("beta_schedule") == "squaredcos_cap_v2" and name == "dpmpp":
        own.setdefault("lambda_min_clipped", COSINE_FLOOR)
    return kind.from_config(own, **fixed)


def planned_steps(settings: InpaintConfig) -> int:
    """Steps that are run at this strength. ConfigError if none is left."""
    count = min(int(settings.steps * settings.strength), settings.steps)
    if count < 1:
        raise ConfigError(
            f"inpaint.strength: {settings.strength} of {settings.steps} steps leaves none; raise strength or steps."
        )
    return count


@torch.no_grad()
def sample(
    model: Diffusion, settings: InpaintConfig, text: Tensor, against: Tensor, noise: Tensor, canvas: Canvas
) -> Tensor:
    """Denoise a batch: `text` [B, length, width] prompts, `against` (the same shape, or one for all) the prompts that
    guidance leads away from, `noise` BChw of unit variance -> scaled latents BChw, float32."""
    scheduler = build_scheduler(model.schedule, settings.scheduler)
    scheduler.set_timesteps(settings.steps, device=model.runtime.device)
    skipped = (settings.steps - planned_steps(settings)) * scheduler.order
    times = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    latents: Tensor
    if settings.strength < 1:
        latents = scheduler.add_noise(_needed(canvas.known), noise, times[:1])
    else:
        latents = noise * scheduler.init_noise_sigma
    guided = settings.guidance > 1
    hidden = (torch.cat([against.expand_as(text), text]) if guided else text).to(model.runtime.dtype)
    beside = torch.cat([canvas.mask, _needed(canvas.masked)], dim=1) if model.inpainting else None
    for index, time in enumerate(times):
        inputs = scheduler.scale_model_input(latents, time)
        output = _predict(model, inputs if beside is None else torch.cat([inputs, beside], dim=1), time, hidden)
        if guided:
            without, with_prompt = output.chunk(2)
            output = without + settings.guidance * (with_prompt - without)
        latents = scheduler.step(output, time, latents, return_dict=False)[0]
        if not model.inpainting:
            known = _needed(canvas.known)
            if index + 1 < len(times):
                known = scheduler.add_noise(known, noise, times[index + 1 : index + 2])
            latents = (1 - canvas.mask) * known + canvas.mask * latents
    return latents


def _predict(model: Diffusion, inputs: Tensor, time: Tensor, hidden: Tensor) -> Tensor:
    """One forward pass of the UNet, float32; inputs are repeated to as many rows as `hidden` has (guidance)."""
    inputs = inputs.to(model.runtime.dtype).repeat(len(hidden) // len(inputs), 1, 1, 1)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    output: Tensor = model.unet(inputs, time, encoder_hidden_states=hidden, return_dict=False)[0]
    return output.float()


def _needed(latents: Tensor | None) -> Tensor:
    if latents is None:
        raise ValueError("the canvas lacks latents that this model or strength needs")
    return latents
