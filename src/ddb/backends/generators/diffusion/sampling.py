"""Sampling of latents with diffusers' schedulers (paper, inpainting; method section 5).

The input of a 9-channel UNet is latents, mask and masked latents. For a 4-channel UNet the known region is replaced at
every step: z_t = (1 - M) z_0_t + M z_t, where z_0_t is the image's latent with the same noise at the next step's level.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.text import Text, joined
from ddb.config import LatentDiffusionConfig
from ddb.errors import ConfigError

SCHEDULERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "dpmpp": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
    "lcm": (LCMScheduler, {"clip_sample": False}),
}
"""Name -> class of the scheduler, and settings that replace those of the model's own scheduler."""
COSINE_FLOOR = -5.1
"""Smallest log signal-to-noise ratio of multistep solvers on the cosine schedule (diffusers' own advice)."""


@dataclass(frozen=True)
class Canvas:
    """Latents and mask of a batch of sources, float32 on the device: `masked` (for 9 channels) and `known` (for 4
    channels and for strength < 1), else None. Latents are BChw and scaled; mask B1hw is 1 where to repaint."""

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


def planned_steps(settings: LatentDiffusionConfig) -> int:
    """Number of steps that are run at this strength. ConfigError if it is 0."""
    count = min(int(settings.steps * settings.strength), settings.steps)
    if count < 1:
        raise ConfigError(
            f"inpaint.strength: {settings.strength} of {settings.steps} steps leaves none; raise strength or steps."
        )
    return count


def check_steps(schedule: Mapping[str, Any], settings: LatentDiffusionConfig) -> None:
    """ConfigError if the scheduler cannot run this many steps at this strength."""
    planned_steps(settings)
    try:
        build_scheduler(schedule, settings.scheduler).set_timesteps(settings.steps)
    except ValueError as error:
        most = schedule.get("num_train_timesteps", 1000)
        if settings.scheduler == "lcm":
            most = schedule.get("original_inference_steps", 50)
        raise ConfigError(
            f"inpaint.steps: {settings.steps} is more than the {settings.scheduler} scheduler can run (at most {most})."
        ) from error


@torch.no_grad()
def sample(
    model: Diffusion,
    settings: LatentDiffusionConfig,
    text: Text,
    against: Text,
    generators: Sequence[torch.Generator],
    canvas: Canvas,
) -> Tensor:
    """Denoise a batch of B -> scaled latents BChw, float32. `text`: the prompts; `against` (B or one for all): the
    negative prompts; `generators`: one random generator per item, on the CPU, so that its noise is the same on every
    device.

    Steps after the share `guidance_end` use no guidance, where it increases contrast rather than content (arXiv
    2404.07724). The deep features of the UNet are computed in every `deep_every`-th step (arXiv 2312.00858).

    The scheduler computes its coefficients on the CPU, so that no step waits for the device."""
    scheduler = build_scheduler(model.schedule, settings.scheduler)
    scheduler.set_timesteps(settings.steps)
    skipped = (settings.steps - planned_steps(settings)) * scheduler.order
    times = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    noise = _noise(model, generators, canvas)
    latents: Tensor
    if settings.strength < 1:
        latents = scheduler.add_noise(_needed(canvas.known), noise, times[:1])
    else:
        latents = noise * scheduler.init_noise_sigma
    led = settings.guidance > 1 and not model.distilled
    guided_steps = math.ceil(settings.guidance_end * len(times)) if led else 0
    text = text.to(model.runtime.dtype)
    both = joined([against.to(model.runtime.dtype).expand(len(text.hidden)), text]) if guided_steps else text
    beside = torch.cat([canvas.mask, _needed(canvas.masked)], dim=1) if model.inpainting else None
    drawing = {"generator": list(generators)} if "generator" in inspect.signature(scheduler.step).parameters else {}
    on_device, deep = times.to(model.runtime.device), None
    for index, time in enumerate(times):
        inputs = scheduler.scale_model_input(latents, time)
        inputs = inputs if beside is None else torch.cat([inputs, beside], dim=1)
        guided = index < guided_steps
        if index % settings.deep_every == 0 or index == guided_steps:
            deep = None
        output, deep = model.predict_from(inputs, on_device[index], both if guided else text, settings.guidance, deep)
        if guided:
            without, with_prompt = output.chunk(2)
            output = without + settings.guidance * (with_prompt - without)
        latents = scheduler.step(output, time, latents, return_dict=False, **drawing)[0]
        if not model.inpainting:
            known = _needed(canvas.known)
            if index + 1 < len(times):
                known = scheduler.add_noise(known, noise, times[index + 1 : index + 2])
            latents = (1 - canvas.mask) * known + canvas.mask * latents
    return latents


def _noise(model: Diffusion, generators: Sequence[torch.Generator], canvas: Canvas) -> Tensor:
    """Unit noise BChw, each item from its own generator."""
    shape = (1, model.latent_channels, *canvas.mask.shape[2:])
    return torch.cat([torch.randn(shape, generator=one) for one in generators]).to(model.runtime.device)


def _needed(latents: Tensor | None) -> Tensor:
    if latents is None:
        raise ValueError("the canvas lacks latents that this model or strength needs")
    return latents
