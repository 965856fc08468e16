"""A latent diffusion model in diffusers' folder layout, opened once and checked before anything is painted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from ddb.backends.latent_diffusion_prompts import Prompts
from ddb.backends.weights import find_folder, found_identity
from ddb.errors import ModelError
from ddb.learn.device import Runtime
from ddb.pocket.models import diffusion_folder

PATTERNS = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
)


@dataclass(frozen=True)
class Diffusion:
    """The frozen parts of a model. The UNet runs in the runtime's dtype; VAE and text encoder in float32, since they
    run once an image or prompt and their rounding would show in pixels and tokens."""

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
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def factor(self) -> int:
        """Pixels a latent cell's side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


@lru_cache(maxsize=2)
def open_diffusion(weights: str, runtime: Runtime) -> Diffusion:
    """Load and check a model, once a process. ModelError says which part is missing, damaged or does not fit."""
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = find_folder(weights, diffusion_folder, PATTERNS)
    options = {"use_safetensors": True, "dtype": torch.float32}
    unet = _part(folder, "unet", lambda path: UNet2DConditionModel.from_pretrained(path, **options))
    vae = _part(folder, "vae", lambda path: AutoencoderKL.from_pretrained(path, **options))
    encoder = _part(folder, "text_encoder", lambda path: CLIPTextModel.from_pretrained(path, **options))
    tokenizer = _part(folder, "tokenizer", lambda path: CLIPTokenizer.from_pretrained(path))
    schedule = _part(folder, "scheduler", lambda path: json.loads((path / "scheduler_config.json").read_text()))
    _check(folder, unet, vae, encoder)
    for model in (unet, vae, encoder):
        model.eval().requires_grad_(False)
    place = {"device": runtime.device, "memory_format": torch.channels_last}
    return Diffusion(
        unet=unet.to(**place, dtype=runtime.dtype),
        vae=vae.to(**place),
        prompts=Prompts(tokenizer, encoder.to(runtime.device)),
        schedule=schedule,
        runtime=runtime,
        identity=found_identity(weights, diffusion_folder, folder),
    )


def _part(folder: Path, name: str, load: Callable[[Path], Any]) -> Any:
    """One part of the folder, or a ModelError that names it."""
    path = folder / name
    if not path.is_dir():
        raise ModelError(f"{path}: missing. `weights` must be a folder in diffusers layout (unet, vae, ...).")
    try:
        return load(path)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{path}: cannot be loaded, download it again. ({reason[:200]})") from error


def _check(folder: Path, unet: Any, vae: Any, encoder: Any) -> None:
    channels, latent = int(unet.config.in_channels), int(vae.config.latent_channels)
    if channels not in (latent, 2 * latent + 1):
        raise ModelError(
            f"{folder / 'unet'}: {channels} input channels; ddb paints with {latent} (text-to-image) or "
            f"{2 * latent + 1} (inpainting)."
        )
    width, expected = int(encoder.config.hidden_size), unet.config.cross_attention_dim
    if isinstance(expected, int) and expected != width:
        raise ModelError(f"{folder}: text_encoder gives vectors of width {width}, unet takes {expected}.")
