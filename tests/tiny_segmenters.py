"""Segmentation models of the real classes with tiny random weights and real processors, in transformers' layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    Sam3VideoConfig,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
)

LETTERS = [chr(code) for code in range(33, 127)]


def bert_tokenizer() -> BertTokenizer:
    """Letters and a few words; the ids of [CLS], [SEP], "." and "?" are those that Grounding DINO's code names."""
    words = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    plain = [word for word in ("bird", "a", "zebra", *LETTERS) if word not in words]
    filler = iter(plain + [f"[unused{n}]" for n in range(1030)])
    taken = {number: word for word, number in words.items()}
    vocabulary = {taken[n] if n in taken else next(filler): n for n in range(1030)}
    return BertTokenizer(vocab=vocabulary, model_max_length=64)


def clip_tokenizer(length: int) -> CLIPTokenizer:
    """One token a letter; the end of text has the highest number, by which OWLv2 finds it."""
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: row for row, word in enumerate(words)}, merges=[], model_max_length=length)


def _scatter(model: torch.nn.Module, scale: float) -> None:
    """Widen the weights, so that outputs differ from place to place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, scale)


def write_grounding_dino(folder: Path) -> Path:
    """Swin and BERT of two layers, 20 queries; images are scaled to 96 to 144 pixels."""
    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin", "image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2],
            "window_size": 4, "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={
            "model_type": "bert", "vocab_size": 1030, "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64,
        },
        num_queries=20, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48, d_model=32,
        encoder_attention_heads=2, decoder_attention_heads=2, max_text_len=64,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        model.model.decoder.layer_norm.weight.fill_(0.1)  # scores that are neither 0 nor 1
    model.save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 144})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def write_owlv2(folder: Path) -> Path:
    """64 px, patches of 16: 16 boxes an image."""
    torch.manual_seed(1)
    tokenizer = clip_tokenizer(32)
    config = Owlv2Config(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 32, "bos_token_id": 188,
            "eos_token_id": 189, "pad_token_id": 189,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16,
        },
        projection_dim=32,
    )  # fmt: skip
    model = Owlv2ForObjectDetection(config)
    _scatter(model, 0.2)
    model.save_pretrained(folder)
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder)
    return folder


def write_sam(folder: Path) -> Path:
    """64 px, patches of 16; masks of 16 px."""
    torch.manual_seed(2)
    config = SamConfig(
        vision_config={
            "hidden_size": 32, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16, "mlp_dim": 48, "window_size": 2, "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
        prompt_encoder_config={
            "hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 4,
            "image_embedding_size": 4,
        },
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "num_hidden_layers": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    model = SamModel(config)
    _scatter(model, 0.3)
    model.save_pretrained(folder)
    size = {"longest_edge": 64}
    SamProcessor(SamImageProcessor(size=size, pad_size={"height": 64, "width": 64})).save_pretrained(folder)
    return folder


def write_sam2(folder: Path) -> Path:
    """128 px; Hiera with one or two blocks a stage."""
    torch.manual_seed(3)
    config = Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": 16, "image_size": [128, 128],
                "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [16, 32, 64, 128],
                "num_attention_heads_per_stage": [1, 2, 4, 8], "window_size_per_stage": [4, 4, 4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2, "num_hidden_layers": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    model = Sam2Model(config)
    _scatter(model, 0.3)
    model.save_pretrained(folder)
    Sam2Processor(Sam2ImageProcessor(size={"height": 128, "width": 128})).save_pretrained(folder)
    return folder


def write_sam2_video(folder: Path, image_model: Path) -> Path:
    """The form that SAM 2.1 is published in: a video model, which holds the image model, with the video's processor."""
    parts = json.loads((image_model / "config.json").read_text())
    config = Sam2VideoConfig(
        **{name: parts[name] for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")},
        image_size=128, memory_attention_hidden_size=32, memory_attention_feed_forward_hidden_size=48,
        memory_attention_num_layers=1, memory_attention_rope_feat_sizes=[8, 8], memory_encoder_hidden_size=32,
        memory_encoder_output_channels=16, mask_downsampler_embed_dim=32, memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=48, memory_fuser_num_layers=1,
    )  # fmt: skip
    model = Sam2VideoModel(config)
    model.load_state_dict(Sam2Model.from_pretrained(image_model).state_dict(), strict=False)
    model.save_pretrained(folder)
    images = Sam2ImageProcessor(size={"height": 128, "width": 128})
    Sam2VideoProcessor(images, Sam2VideoVideoProcessor()).save_pretrained(folder)
    return folder


def write_sam3_video(folder: Path, image_model: Path) -> Path:
    """The form that SAM 3 is published in: the image model's weights under a name of their own, and a tracker's."""
    shutil.copytree(image_model, folder)
    detector = json.loads((folder / "config.json").read_text())
    Sam3VideoConfig(detector_config=detector).save_pretrained(folder)
    tensors = {f"detector_model.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors | {"tracker_model.x": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    return folder


def write_sam3(folder: Path) -> Path:
    """112 px, patches of 14: 8 x 8 of them."""
    torch.manual_seed(4)
    tokenizer = clip_tokenizer(32)
    layer = {"hidden_size": 32, "num_attention_heads": 2}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model", **layer, "intermediate_size": 48, "num_hidden_layers": 2,
                "image_size": 112, "patch_size": 14, "window_size": 4, "global_attn_indexes": [1],
                "pretrain_image_size": 56,
            },
            "fpn_hidden_size": 32, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={
            "model_type": "clip_text_model", "vocab_size": len(tokenizer), **layer, "intermediate_size": 48,
            "projection_dim": 16, "num_hidden_layers": 2, "max_position_embeddings": 32, "bos_token_id": 188,
            "eos_token_id": 189, "pad_token_id": 189,
        },
        geometry_encoder_config={**layer, "num_layers": 1, "intermediate_size": 48},
        detr_encoder_config={**layer, "num_layers": 1, "intermediate_size": 48},
        detr_decoder_config={**layer, "num_layers": 2, "intermediate_size": 48, "num_queries": 12},
        mask_decoder_config=layer,
    )  # fmt: skip
    model = Sam3Model(config)
    for part in (model.vision_encoder, model.detr_decoder, model.dot_product_scoring, model.mask_decoder):
        _scatter(part, 0.2)
    model.save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(size={"height": 112, "width": 112}), tokenizer).save_pretrained(folder)
    return folder


def write_segformer(folder: Path) -> Path:
    """64 px; parts of a face by the names of CelebAMask-HQ."""
    torch.manual_seed(5)
    config = SegformerConfig(
        hidden_sizes=[16, 16, 32, 32], num_attention_heads=[1, 1, 2, 2], depths=[1, 1, 1, 1], decoder_hidden_size=32,
        id2label={0: "background", 1: "skin", 2: "nose", 3: "hair", 4: "hat"},
    )  # fmt: skip
    model = SegformerForSemanticSegmentation(config)
    _scatter(model, 0.3)
    model.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def pictures() -> list[np.ndarray]:
    """The last one is grey, one is wide, one three pixels high."""
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((48, 64), (40, 120), (3, 90), (64, 48))]
    for number, image in enumerate(made):
        image[: image.shape[0] // 2, : image.shape[1] // 3, number % 3] = 255
    made[3][:] = made[3][..., :1]
    return made
