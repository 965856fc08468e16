"""The published models' configurations, built with random weights in their on-disk layouts, and their parameter counts.

Configurations are those of the repositories' config.json files. Counts, with the sources they were read from:
UNets, VAE and text encoders of Stable Diffusion: module summaries that several public projects print (SD2 865,910,724;
with 9 channels 865,925,124; SDXL 2,567,463,684, arXiv 2307.01952 says 2.6 billion; 9 channels add 5 x 320 x 9). The
VAE's published file has 334,643,276 bytes, which is 4 x 83,653,863 and a header. ResNet-50: torchvision's model table.
GroundingDINO-tiny: its file of 689,359,096 bytes is 4 x 172,249,090 and a header. SAM ViT-B: summaries, and 375 MB. SAM
2.1 small: 46 million in the table of facebookresearch/sam2; its published file holds the video model.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2ImageProcessor,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_segmenters import bert_tokenizer, clip_tokenizer

SD2_UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
}
OPENCLIP_H: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "projection_dim": 512,
    "hidden_act": "gelu",
}
CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
OPENCLIP_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
SWIN_T = {
    "model_type": "swin",
    "image_size": 224,
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "out_features": ["stage2", "stage3", "stage4"],
}
SAM2_SMALL = {
    "model_type": "sam2_vision_model",
    "backbone_config": {
        "model_type": "sam2_hiera_det_model",
        "blocks_per_stage": [1, 2, 11, 2],
        "global_attention_blocks": [7, 10, 13],
    },
}
SCHEDULE = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
COUNTS = {
    "unet of sd2-inpainting": 865_925_124,
    "unet of sd2-base": 865_910_724,
    "unet of sdxl-inpainting": 2_567_478_084,
    "vae": 83_653_863,
    "text_encoder of sd2": 340_387_840,
    "text_encoder of sdxl": 123_060_480,
    "text_encoder_2 of sdxl": 694_659_840,
    "grounding-dino-tiny": 172_249_090,
    "sam-vit-b": 93_735_472,
    "sam2.1-small": 46_000_000,
    "resnet50": 25_557_032,
}


def write_diffusion(folder: Path, unet: dict[str, Any], channels: int, encoders: dict[str, tuple[Any, Any]]) -> None:
    """A pipeline folder in diffusers' layout, in bfloat16. `encoders`: part -> class and settings."""
    with _dtype(torch.bfloat16):
        UNet2DConditionModel(in_channels=channels, out_channels=4, **unet).save_pretrained(folder / "unet")
        AutoencoderKL(**VAE).save_pretrained(folder / "vae")
        for part, (kind, settings) in encoders.items():
            kind(CLIPTextConfig(**settings)).save_pretrained(folder / part)
            clip_tokenizer(77).save_pretrained(folder / part.replace("text_encoder", "tokenizer"))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULE))
    index = {part: ["transformers", kind.__name__] for part, (kind, _) in encoders.items()}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **index}))


def write_sd2(folder: Path, channels: int) -> None:
    write_diffusion(folder, SD2_UNET, channels, {"text_encoder": (CLIPTextModel, OPENCLIP_H)})


def write_sdxl_inpainting(folder: Path) -> None:
    encoders = {"text_encoder": (CLIPTextModel, CLIP_L), "text_encoder_2": (CLIPTextModelWithProjection, OPENCLIP_G)}
    write_diffusion(folder, SDXL_UNET, 9, encoders)


def write_grounding_dino(folder: Path) -> None:
    """The published file has no norm after the last stage of Swin, which nothing reads: it is left out here as well.
    The last norm is made small, or every score of random weights would be 0 or 1."""
    text = {"model_type": "bert"}
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=SWIN_T, text_config=text))
    torch.nn.init.constant_(model.model.decoder.layer_norm.weight, 0.05)
    model.save_pretrained(folder)
    file = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if ".swin.layernorm." not in name}
    save_file(kept, file, {"format": "pt"})
    GroundingDinoProcessor(GroundingDinoImageProcessor(), bert_tokenizer()).save_pretrained(folder)


def write_sam(folder: Path) -> None:
    SamModel(SamConfig()).save_pretrained(folder)
    SamProcessor(SamImageProcessor()).save_pretrained(folder)


def write_sam2(folder: Path) -> None:
    Sam2VideoModel(Sam2VideoConfig(vision_config=SAM2_SMALL)).save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor()).save_pretrained(folder)


def write_resnet50(folder: Path) -> None:
    """timm's layout on the hub."""
    model = timm.create_model("resnet50.tv_in1k", pretrained=False)
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    facts = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet50", "pretrained_cfg": facts}))


ROUNDED = {"sam2.1-small": 1_000_000}
"""Counts that are published in round numbers, and to what."""
BUFFERS = r"\.running_|num_batches_tracked|\.positional_embedding$"
"""In the files, but not counted: running statistics of batch normalisation, SAM's fixed random frequencies."""
WRITERS: dict[str, Callable[[Path], None]] = {
    "sd2-inpainting": lambda folder: write_sd2(folder, 9),
    "sd2-base": lambda folder: write_sd2(folder, 4),
    "sdxl-inpainting": write_sdxl_inpainting,
    "grounding-dino-tiny": write_grounding_dino,
    "sam-vit-b": write_sam,
    "sam2.1-small": write_sam2,
    "resnet50": write_resnet50,
}


def counted(name: str, folder: Path) -> Iterator[tuple[str, int]]:
    """(part, parameters) of every file of a model. Raises AssertionError where one is not the published number."""
    for file in sorted(folder.rglob("*.safetensors")):
        part = file.parent.name
        family = name.partition("-")[0]
        known = {"unet": f"unet of {name}", "vae": "vae", folder.name: name}.get(part, f"{part} of {family}")
        found, unit = _parameters(file), ROUNDED.get(known, 1)
        assert round(found / unit) * unit == COUNTS[known], f"{known}: {found:,}, published are {COUNTS[known]:,}"
        yield known, found


def _parameters(file: Path) -> int:
    with safe_open(file, "pt") as tensors:
        names = [name for name in tensors.keys() if not re.search(BUFFERS, name)]  # noqa: SIM118
        return sum(torch.Size(tensors.get_slice(name).get_shape()).numel() for name in names)


@contextmanager
def _dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
