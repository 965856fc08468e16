"""Folders of the pocket weights. They ship with the package: safetensors, float16, in the layouts of the libraries."""

from __future__ import annotations

from pathlib import Path

from ddb.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"


def diffusion_folder() -> Path:
    """A diffusers `StableDiffusionInpaintPipeline` folder: 64x64 images, 16x16x4 latents, 9-channel UNet."""
    return _existing("diffusion", "model_index.json")


def segmenter_folder() -> Path:
    """A transformers `CLIPSegForImageSegmentation` folder with its processor."""
    return _existing("segmenter", "config.json")


def backbone_folder() -> Path:
    """`model.safetensors` of a timm backbone and `config.json` with its architecture and normalisation."""
    return _existing("backbone", "config.json")


def encoder_folder() -> Path:
    """A transformers `CLIPModel` folder with its processor: 64x64 images and short texts."""
    return _existing("encoder", "config.json")


def _existing(name: str, file: str) -> Path:
    folder = WEIGHTS / name
    if not (folder / file).is_file():
        raise ModelError(f"pocket weights are missing: {name}/{file}; reinstall ddb or train them with tools/pocket")
    return folder
