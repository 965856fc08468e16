"""What a counterfactual costs: floating point operations of the published generators, counted without any weights.

    python tools/generator_flops.py

Models are built from their published configurations on torch's meta device, which holds shapes alone;
`torch.utils.flop_counter` counts matrix products, convolutions and attention (a multiplication and an addition are two
operations). Parameter counts show that the configurations are the published ones.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

SD1: dict[str, Any] = {
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
}
SD2: dict[str, Any] = {
    **SD1,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
UNETS = {
    "Stable Diffusion 1.5": (SD1, 4, 512),
    "Stable Diffusion 1.5 inpainting": (SD1, 9, 512),
    "Stable Diffusion 2 base": (SD2, 4, 512),
    "Stable Diffusion 2 inpainting": (SD2, 9, 512),
    "Stable Diffusion XL": (SDXL, 4, 1024),
    "Stable Diffusion XL inpainting": (SDXL, 9, 1024),
}
"""Configuration, input channels and usual image size."""
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
TOKENS = 77
STEPS = 25
"""Denoising steps of an image; it is encoded once (its visible part, or all of it) and decoded once."""


def operations(call: Any) -> float:
    """Of one call, in units of 1e9."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


def millions(model: nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def unet_pass(config: dict[str, Any], channels: int, side: int) -> tuple[float, float, float]:
    """Operations of one image's pass at `side` pixels, of a pass with the gradient of its prompt (the weights are
    frozen, as in textual inversion), and millions of parameters."""
    unet = UNet2DConditionModel(in_channels=channels, **config).requires_grad_(False)
    latents, time = torch.empty(1, channels, side // 8, side // 8), torch.empty(1)
    text = torch.empty(1, TOKENS, config["cross_attention_dim"])
    told = None
    if "addition_embed_type" in config:
        told = {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)}
    forward = operations(lambda: unet(latents, time, text, added_cond_kwargs=told))
    text.requires_grad_()
    both = operations(lambda: unet(latents, time, text, added_cond_kwargs=told).sample.sum().backward())
    return forward, both, millions(unet)


def main() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL(**VAE).requires_grad_(False)
        print(f"VAE: {millions(vae):.2f} M parameters")
        coding = {}
        for side in (512, 1024):
            encoded = operations(lambda side=side: vae.encode(torch.empty(1, 3, side, side)))
            decoded = operations(lambda side=side: vae.decode(torch.empty(1, 4, side // 8, side // 8)))
            coding[side] = encoded + decoded
            print(f"  {side} px: encode {encoded:,.0f} GFLOP, decode {decoded:,.0f} GFLOP")
        print("\nmodel | pixels | M parameters | GFLOP a pass | GFLOP a learning pass | TFLOP an image, guided | plain")
        for name, (config, channels, side) in UNETS.items():
            one, learning, size = unet_pass(config, channels, side)
            guided, plain = ((passes * STEPS * one + coding[side]) / 1e3 for passes in (2, 1))
            print(f"{name} | {side} | {size:,.2f} | {one:,.0f} | {learning:,.0f} | {guided:,.1f} | {plain:,.1f}")
        print("\nGFLOP a pass of Stable Diffusion 2 inpainting by image size:")
        for side in (256, 384, 512, 768):
            print(f"  {side} px: {unet_pass(SD2, 9, side)[0]:,.0f}")


if __name__ == "__main__":
    main()
