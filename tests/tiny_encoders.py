"""CLIP and SigLIP models of the real classes with tiny random weights and real processors, in transformers' layout."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from tiny_segmenters import clip_tokenizer

LENGTH = 24


def write_clip(folder: Path) -> Path:
    """One layer of width 16; images of 32 pixels."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(LENGTH)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, **layers, **ids}
    vision = {"image_size": 32, "patch_size": 8, **layers}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def write_siglip(folder: Path) -> Path:
    """As `write_clip`, of the classes that SigLIP 2 of a fixed size is published in."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer(LENGTH)
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": LENGTH, "projection_size": 16, **layers}
    vision = {"image_size": 32, "patch_size": 8, **layers}
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
