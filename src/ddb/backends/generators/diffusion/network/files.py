"""The files of a latent diffusion model in diffusers' folder layout."""

from __future__ import annotations

INDEX, SCHEDULE = "model_index.json", "scheduler_config.json"
PATTERNS = (
    "model_index.json",
    "scheduler/*.json",
    "tokenizer/*",
    "tokenizer_2/*",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/*index.json",
    "text_encoder/model-*.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors",
    "text_encoder_2/*index.json",
    "text_encoder_2/model-*.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/*index.json",
    "unet/diffusion_pytorch_model-*.safetensors",
)
"""What is downloaded of a hub id: safetensors alone, in one file or in shards with their index."""
