"""Loading and checking a latent diffusion model in diffusers' folder layout.

Stable Diffusion 1.5, 2 and XL, each as text-to-image (4 channels) or inpainting model (9 channels). The UNet's
configuration determines the kind; `model_index.json` must name the matching text encoders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from ddb.backends.generators.diffusion.network.files import INDEX, PATTERNS, SCHEDULE
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.network.unet import is_known
from ddb.backends.generators.diffusion.network.upsampling import with_transposed_upsampling
from ddb.backends.generators.diffusion.prompts import Prompts
from ddb.backends.generators.diffusion.text import TextEncoder
from ddb.backends.weights import Weights, read_json, readable
from ddb.errors import ModelError
from ddb.learn.device import Runtime

ENCODERS = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
"""Parts and their classes; the second is Stable Diffusion XL's alone."""
UNTOLD = ("class_embed_type", "encoder_hid_dim_type")
"""UNet settings for conditioning inputs that ddb does not provide."""


def open_diffusion(weights: Weights, runtime: Runtime) -> Diffusion:
    """Load and check a model. On the device "meta" no weights are read: their names and shapes are checked against the
    configuration, without memory. ModelError says which part is missing, damaged or does not fit."""
    diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)  # faults are reported by ModelError
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = weights.folder(PATTERNS)
    index = read_json(folder / INDEX) if (folder / INDEX).is_file() else {}
    exact = Runtime(runtime.device, torch.float32)
    unet = _weights(folder, "unet", UNet2DConditionModel, runtime)
    vae = _weights(folder, "vae", AutoencoderKL, Runtime(runtime.device, vae_dtype(folder, runtime)))
    _check_unet(folder, unet, vae)
    paired = unet.config.addition_embed_type == "text_time"
    parts = list(ENCODERS)[: 2 if paired else 1]
    encoders = tuple(_text_encoder(folder, part, index, paired, exact) for part in parts)
    schedule = _part(folder, "scheduler", _schedule)
    _check_widths(folder, unet, encoders)
    models = (unet, vae, *(one.encoder for one in encoders))
    readable(folder, lambda: [model.eval().requires_grad_(False).to(runtime.device) for model in models])
    if (runtime.device.type, runtime.dtype) == ("cpu", torch.float32):
        for model in (unet, vae):
            with_transposed_upsampling(model)
    return Diffusion(
        unet=unet.to(memory_format=torch.channels_last),
        vae=vae.to(memory_format=torch.channels_last),
        prompts=Prompts(encoders, paired and bool(index.get("force_zeros_for_empty_prompt", True))),
        schedule=schedule,
        runtime=runtime,
        identity=weights.identity,
    )


def vae_dtype(folder: Path, runtime: Runtime) -> torch.dtype:
    """The VAE's dtype: on CUDA that of the runtime, but float32 instead of float16 where its configuration asks for it
    (`force_upcast`; Stable Diffusion XL's overflows), elsewhere float32. In bfloat16 the levels of a white pixel are
    0.5 apart."""
    if runtime.device.type != "cuda" or runtime.dtype == torch.float32:
        return torch.float32
    config = read_json(folder / "vae" / "config.json")
    overflows = runtime.dtype == torch.float16 and bool(config.get("force_upcast", True))
    return torch.float32 if overflows else runtime.dtype


def _schedule(path: Path) -> dict[str, Any]:
    """The settings of the noise schedule, checked by building a scheduler of diffusers from them."""
    settings = read_json(path / SCHEDULE)
    DDPMScheduler.from_config(settings)
    return settings


def _text_encoder(folder: Path, part: str, index: dict[str, Any], paired: bool, runtime: Runtime) -> TextEncoder:
    entry = index.get(part)
    named = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if named not in (None, ENCODERS[part].__name__):
        raise ModelError(
            f"{folder}: {part} is a {named}; ddb paints with CLIP's text encoders (Stable Diffusion 1.5, 2, XL)."
        )
    encoder = _weights(folder, part, ENCODERS[part], runtime)
    name = part.replace("text_encoder", "tokenizer")
    return TextEncoder(_part(folder, name, lambda path: CLIPTokenizer.from_pretrained(path)), encoder, paired)


def _weights(folder: Path, name: str, kind: Any, runtime: Runtime) -> Any:
    """A model from its part of the folder, in the runtime's dtype. ModelError if the file lacks a tensor, which would
    be drawn at random. Where all safetensors are in half precision (named model.fp16.safetensors), these are read. On
    the device "meta" the model has no values."""
    files = [path.name for path in (folder / name).glob("*.safetensors")]
    half = bool(files) and all(".fp16" in file for file in files)
    options = {
        "use_safetensors": True,
        "dtype": runtime.dtype,
        "output_loading_info": True,
        "variant": "fp16" if half else None,
        "local_files_only": True,
    }
    if runtime.device.type == "meta":
        options["device_map"] = "meta"
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
    return readable(path, lambda: load(path))


def _check_unet(folder: Path, unet: Any, vae: Any) -> None:
    channels, latent = int(unet.config.in_channels), int(vae.config.latent_channels)
    if channels not in (latent, 2 * latent + 1):
        raise ModelError(
            f"{folder / 'unet'}: {channels} input channels; ddb paints with {latent} (text-to-image) or "
            f"{2 * latent + 1} (inpainting)."
        )
    if not is_known(unet):
        raise ModelError(f"{folder / 'unet'}: has other blocks than those of Stable Diffusion 1.5, 2 and XL.")
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
