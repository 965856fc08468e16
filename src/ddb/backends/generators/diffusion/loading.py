"""Opens a latent diffusion model in diffusers' folder layout and checks it before anything is painted.

Stable Diffusion 1.5, 2 and XL, each as text-to-image (4 channels) or inpainting model (9 channels). The UNet's
configuration decides which it is; `model_index.json` must name the text encoders that go with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from ddb.backends.generators.diffusion.model import Diffusion
from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.text import TextEncoder
from ddb.backends.weights import find_folder, found_identity
from ddb.errors import ModelError
from ddb.learn.device import Runtime
from ddb.pocket.models import diffusion_folder

PATTERNS = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "tokenizer_2/*",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
)
ENCODERS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
"""Parts and their classes; the second is Stable Diffusion XL's alone."""
UNTOLD = ("class_embed_type", "encoder_hid_dim_type")
"""UNet settings that ask for conditions which ddb does not give."""


@lru_cache(maxsize=2)
def open_diffusion(weights: str, runtime: Runtime) -> Diffusion:
    """Load and check a model, once a process. ModelError says which part is missing, damaged or does not fit."""
    diffusers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = find_folder(weights, diffusion_folder, PATTERNS)
    index = _index(folder)
    unet = _weights(folder, "unet", UNet2DConditionModel, runtime.dtype)
    vae = _weights(folder, "vae", AutoencoderKL)
    _check_unet(folder, unet, vae)
    paired = unet.config.addition_embed_type == "text_time"
    encoders = tuple(_text_encoder(folder, part, index, paired) for part in list(ENCODERS)[: 2 if paired else 1])
    schedule = _part(folder, "scheduler", lambda path: json.loads((path / "scheduler_config.json").read_text()))
    _check_widths(folder, unet, encoders)
    for model in (unet, vae, *(one.encoder for one in encoders)):
        model.eval().requires_grad_(False).to(runtime.device)
    return Diffusion(
        unet=unet.to(memory_format=torch.channels_last),
        vae=vae.to(memory_format=torch.channels_last),
        prompts=Prompts(encoders, paired and bool(index.get("force_zeros_for_empty_prompt", True))),
        schedule=schedule,
        runtime=runtime,
        identity=found_identity(weights, diffusion_folder, folder),
    )


def _index(folder: Path) -> dict[str, Any]:
    """`model_index.json`: the classes of the parts. Empty where there is none."""
    path = folder / "model_index.json"
    try:
        index = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{path}: not JSON, download it again.") from error
    return index if isinstance(index, dict) else {}


def _text_encoder(folder: Path, part: str, index: dict[str, Any], paired: bool) -> TextEncoder:
    named = (index.get(part) or [None, None])[1]
    if named not in (None, ENCODERS[part].__name__):
        raise ModelError(
            f"{folder}: {part} is a {named}; ddb paints with CLIP's text encoders (Stable Diffusion 1.5, 2, XL)."
        )
    encoder = _weights(folder, part, ENCODERS[part])
    name = part.replace("text_encoder", "tokenizer")
    return TextEncoder(_part(folder, name, lambda path: CLIPTokenizer.from_pretrained(path)), encoder, paired)


def _weights(folder: Path, name: str, kind: Any, dtype: torch.dtype = torch.float32) -> Any:
    """A model from its part of the folder; weights that the file lacks would be drawn at random: refused. Some
    repositories have safetensors in half precision alone, named model.fp16.safetensors: then these are read."""
    files = [path.name for path in (folder / name).glob("*.safetensors")]
    half = bool(files) and all(".fp16." in file for file in files)
    options = {
        "use_safetensors": True,
        "dtype": dtype,
        "output_loading_info": True,
        "variant": "fp16" if half else None,
    }
    model, info = _part(folder, name, lambda path: kind.from_pretrained(path, **options))
    if info["missing_keys"]:
        first = sorted(info["missing_keys"])[0]
        raise ModelError(f"{folder / name}: its weights lack {first}: the file does not fit its config.json.")
    return model


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


def _check_unet(folder: Path, unet: Any, vae: Any) -> None:
    channels, latent = int(unet.config.in_channels), int(vae.config.latent_channels)
    if channels not in (latent, 2 * latent + 1):
        raise ModelError(
            f"{folder / 'unet'}: {channels} input channels; ddb paints with {latent} (text-to-image) or "
            f"{2 * latent + 1} (inpainting)."
        )
    asked = [name for name in UNTOLD if unet.config.get(name) is not None]
    if asked or unet.config.addition_embed_type not in (None, "text_time"):
        what = f"{asked[0]} {unet.config.get(asked[0])}" if asked else f"{unet.config.addition_embed_type} embeddings"
        raise ModelError(f"{folder / 'unet'}: made for {what}; ddb paints with Stable Diffusion 1.5, 2 and XL.")
    if vae.config.get("latents_mean") is not None:
        raise ModelError(f"{folder / 'vae'}: latents with a mean of their own (latents_mean); ddb does not paint so.")


def _check_widths(folder: Path, unet: Any, encoders: tuple[TextEncoder, ...]) -> None:
    width, expected = sum(one.width for one in encoders), unet.config.cross_attention_dim
    if expected != width:
        raise ModelError(f"{folder}: text_encoder gives vectors of width {width}, unet takes {expected}.")
    if len(encoders) == 2:
        pooled = int(encoders[1].encoder.config.projection_dim)
        given = pooled + 6 * int(unet.config.addition_time_embed_dim)
        if given != unet.config.projection_class_embeddings_input_dim:
            raise ModelError(
                f"{folder / 'unet'}: takes {unet.config.projection_class_embeddings_input_dim} numbers about sizes and "
                f"prompt, ddb gives {given}: not a base or inpainting model (refiners are not used)."
            )
