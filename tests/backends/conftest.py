"""Diffusion and segmentation models of the real classes with tiny random weights, in their libraries' layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    ViTImageProcessor,
)

from ddb.backends import Task
from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.weights import parse_weights
from ddb.learn.device import Runtime

SIDE = 32
SCHEDULES = {
    "v_prediction": {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"},
    "epsilon": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "set_alpha_to_one": False},
}
"""The pocket's noise schedule, and Stable Diffusion's."""
FP32 = Runtime(torch.device("cpu"), torch.float32)
KINDS = ("nine", "four", "xl_nine", "xl_four")
"""Inpainting and text-to-image models of Stable Diffusion 1.5 and 2, and of XL: fixtures of these names open them."""


def tiny_tokenizer(first: tuple[str, ...] = ("<|startoftext|>", "<|endoftext|>"), **options: Any) -> CLIPTokenizer:
    """One token a letter; the words `first` have the lowest ids, the two special ones are last where they are not."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*first, *letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: row for row, word in enumerate(dict.fromkeys(words))}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=48, **options)


def tiny_text(vocabulary: int, width: int = 32, **options: Any) -> CLIPTextConfig:
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1} | options
    return CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=48, **ids,
    )  # fmt: skip


def tiny_unet(channels: int, **options: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(**{
        "sample_size": 8, "in_channels": channels, "out_channels": 4, "block_out_channels": (16, 32),
        "layers_per_block": 1, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32, "attention_head_dim": 2,
        "norm_num_groups": 8, **options,
    })  # fmt: skip


def tiny_vae() -> AutoencoderKL:
    """Four pixels a cell's side."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1, latent_channels=4, norm_num_groups=4,
        sample_size=SIDE, scaling_factor=0.7,
    )  # fmt: skip


def tiny_scheduler(prediction: str) -> DDIMScheduler:
    return DDIMScheduler(**SCHEDULES[prediction], prediction_type=prediction, clip_sample=False, steps_offset=1)


def write_pipeline(folder: Path, channels: int, prediction: str = "v_prediction", seed: int = 0) -> Path:
    """A StableDiffusionInpaintPipeline: VAE factor 4, text width 32."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    text, unet = tiny_text(len(tokenizer)), tiny_unet(channels)
    pipeline = StableDiffusionInpaintPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=tiny_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


def write_xl_pipeline(folder: Path, channels: int, prediction: str = "epsilon", seed: int = 0) -> Path:
    """A StableDiffusionXLInpaintPipeline: text widths 32 and 24, pooled width 20. As in the published weights, the
    second tokenizer pads with "!", and the second encoder's configuration has CLIP's old end id 2."""
    torch.manual_seed(seed)
    one, two = tiny_tokenizer(), tiny_tokenizer(("!",), pad_token="!")
    second = tiny_text(len(two), 24, projection_dim=20, bos_token_id=len(two) - 2, eos_token_id=2, pad_token_id=0)
    unet = tiny_unet(
        channels, cross_attention_dim=32 + 24, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8, attention_head_dim=(2, 4), use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
    )  # fmt: skip
    pipeline = StableDiffusionXLInpaintPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(tiny_text(len(one))),
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer=one,
        tokenizer_2=two,
        unet=unet,
        scheduler=tiny_scheduler(prediction),
        add_watermarker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folders(inpainting_folder: Path, text_to_image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Kind -> folder of its tiny weights."""
    root = tmp_path_factory.mktemp("weights")
    return {
        "nine": inpainting_folder,
        "four": text_to_image_folder,
        "xl_nine": write_xl_pipeline(root / "xl_nine", 9),
        "xl_four": write_xl_pipeline(root / "xl_four", 4, "v_prediction"),
    }


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(kind: str, folders: dict[str, Path]) -> Diffusion:
    """A model of every kind, which the test may change."""
    return open_diffusion(parse_weights(str(folders[kind])), FP32)


@pytest.fixture(scope="session")
def inpainting_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 channels, v-prediction."""
    return write_pipeline(tmp_path_factory.mktemp("weights") / "nine", 9)


@pytest.fixture(scope="session")
def text_to_image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 channels, noise prediction."""
    return write_pipeline(tmp_path_factory.mktemp("weights") / "four", 4, "epsilon")


@pytest.fixture
def nine(inpainting_folder: Path) -> Diffusion:
    """A 9-channel model, which the test may change."""
    return open_diffusion(parse_weights(str(inpainting_folder)), FP32)


@pytest.fixture
def four(text_to_image_folder: Path) -> Diffusion:
    """A 4-channel model, which the test may change."""
    return open_diffusion(parse_weights(str(text_to_image_folder)), FP32)


@pytest.fixture(scope="session")
def segmenter_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIPSegForImageSegmentation and its processor, 32 px."""
    torch.manual_seed(0)
    tokenizer, folder = tiny_tokenizer(), tmp_path_factory.mktemp("weights") / "clipseg"
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 48, "bos_token_id": 0, "eos_token_id": 1,
        "pad_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
        "image_size": SIDE, "patch_size": 4,
    }  # fmt: skip
    config = CLIPSegConfig(
        text_config=text, vision_config=vision, projection_dim=16, reduce_dim=8, decoder_num_attention_heads=2,
        decoder_intermediate_size=32, extract_layers=[0, 1, 2],
    )  # fmt: skip
    CLIPSegForImageSegmentation(config).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    CLIPSegProcessor(ViTImageProcessor(size=size, do_resize=True), tokenizer).save_pretrained(folder)
    return folder


Tasks = Callable[..., list[Task]]


@pytest.fixture
def tasks() -> Tasks:
    """Random images with a rectangle to repaint, aligned to a grid of 4 px."""

    def make(count: int, height: int = SIDE, width: int = SIDE, prompt: str = "a bird") -> list[Task]:
        rng = np.random.default_rng(7)
        made = []
        for number in range(count):
            mask = np.zeros((height, width), np.bool_)
            top, left = 4 * int(rng.integers(1, 3)), 4 * int(rng.integers(1, 3))
            mask[top : top + 16, left : left + 12] = True
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            made.append(Task(image, mask, 1, prompt, seed=100 + number))
        return made

    return make
