"""Opening model folders: every kind is known by its configuration, and what cannot be used is refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from ddb.backends.generators.diffusion.network.loading import open_diffusion
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.registry import open_generator
from ddb.backends.weights import parse_weights
from ddb.config import inpaint_config
from ddb.context import Context, Models
from ddb.data.table import Dataset
from ddb.errors import ConfigError, ModelError
from ddb.learn.device import Runtime

FP32 = Runtime(torch.device("cpu"), torch.float32)
WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
}


@pytest.fixture
def own(folders: dict[str, Path], tmp_path: Path) -> Any:
    """A copy of a model's folder, to be damaged."""
    return lambda kind: Path(shutil.copytree(folders[kind], tmp_path / kind))


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def a_context(device: str = "cpu", precision: str = "fp32") -> Context:
    return Context(cast(Dataset, None), 0, device, precision, Path())


def refused(folder: Path, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        open_diffusion(parse_weights(str(folder)), FP32)


def test_the_configuration_tells_the_kind(kind: str, model: Diffusion) -> None:
    assert model.inpainting == kind.endswith("nine")
    assert len(model.prompts.encoders) == (2 if kind.startswith("xl") else 1)
    assert model.prompts.empty_is_zero == kind.startswith("xl")
    assert (model.factor, model.latent_channels, model.distilled) == (4, 4, False)
    assert model.prompts.encode("a bird").hidden.shape == (1, 48, 56 if kind.startswith("xl") else 32)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere: no such folder")


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_damaged_or_missing_part_is_named(part: str, own: Any) -> None:
    folder = own("xl_nine")
    file = folder / part / WEIGHTS[part]
    file.write_bytes(file.read_bytes()[:-40])
    refused(folder, f"{part}: cannot be loaded, download it again")
    file.write_bytes(b"not a tensor")
    refused(folder, f"{part}: cannot be loaded, download it again")
    shutil.rmtree(folder / part)
    refused(folder, f"{part}: missing")


def test_files_in_half_precision_alone_are_read(own: Any) -> None:
    folder = own("nine")
    for file in folder.rglob("*.safetensors"):
        save_file(
            {k: v.half() for k, v in load_file(file).items()}, file.with_suffix(".fp16.safetensors"), {"format": "pt"}
        )
        file.unlink()
    assert open_diffusion(parse_weights(str(folder)), FP32).unet.dtype == torch.float32


@pytest.mark.parametrize("part", WEIGHTS)
def test_weights_that_lack_a_tensor_are_refused(part: str, own: Any) -> None:
    folder = own("xl_four")
    file = folder / part / WEIGHTS[part]
    tensors = load_file(file)
    del tensors[sorted(tensors)[-1]]
    save_file(tensors, file, metadata={"format": "pt"})
    refused(folder, f"{part}: its weights lack")


def test_files_with_the_first_releases_names_load_alike(kind: str, own: Any, model: Diffusion) -> None:
    """Attention as query, key, value, proj_attn in the VAE; text_model. and position_ids in the text encoders."""
    folder = own(kind)
    file = folder / "vae" / WEIGHTS["vae"]
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in load_file(file).items():
        for new, first in old.items():
            name = name.replace(f"attentions.0.{new}", f"attentions.0.{first}")
        tensors[name] = tensor
    assert "decoder.mid_block.attentions.0.query.weight" in tensors
    save_file(tensors, file, metadata={"format": "pt"})
    for file in folder.glob("text_encoder*/model.safetensors"):
        plain = {name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}
        tensors = {name if "projection" in name else f"text_model.{name}": tensor for name, tensor in plain.items()}
        tensors["text_model.embeddings.position_ids"] = torch.arange(48)[None]
        save_file(tensors, file, metadata={"format": "pt"})
    opened = open_diffusion(parse_weights(str(folder)), FP32)
    assert torch.equal(opened.prompts.encode("a bird").hidden, model.prompts.encode("a bird").hidden)
    ours, theirs = opened.vae.state_dict(), model.vae.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", ["nine", "xl_four"])
def test_a_unet_of_five_channels_is_refused(kind: str, own: Any) -> None:
    folder = own(kind)
    config = json.loads((folder / "unet" / "config.json").read_text())
    UNet2DConditionModel.from_config({**config, "in_channels": 5}).save_pretrained(folder / "unet")
    refused(folder, r"5 input channels; ddb paints with 4 \(text-to-image\) or 9 \(inpainting\)")


def test_other_kinds_of_model_are_refused(own: Any) -> None:
    folder = own("xl_four")
    edit(folder / "vae" / "config.json", latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    refused(folder, "latents_mean")
    shutil.rmtree(folder)
    folder = own("xl_four")
    edit(folder / "model_index.json", text_encoder=["transformers", "T5EncoderModel"])
    refused(folder, "text_encoder is a T5EncoderModel; ddb paints with CLIP")
    (folder / "model_index.json").write_text("{")
    refused(folder, "model_index.json: not JSON")
    shutil.rmtree(folder)
    folder = own("nine")
    config = json.loads((folder / "unet" / "config.json").read_text())
    told = {**config, "class_embed_type": "timestep"}
    UNet2DConditionModel.from_config(told).save_pretrained(folder / "unet")
    refused(folder, "made for class_embed_type timestep")
    wide = {**config, "cross_attention_dim": 40}
    UNet2DConditionModel.from_config(wide).save_pretrained(folder / "unet")
    refused(folder, "vectors of width 32, unet takes 40")


def test_a_refiner_is_refused(own: Any) -> None:
    """Five numbers about sizes and score, as Stable Diffusion XL's refiner takes them, in place of six."""
    folder = own("xl_four")
    config = json.loads((folder / "unet" / "config.json").read_text())
    refiner = {**config, "projection_class_embeddings_input_dim": 20 + 5 * 8}
    UNet2DConditionModel.from_config(refiner).save_pretrained(folder / "unet")
    refused(folder, "60 numbers about sizes and prompt, ddb gives 68")


def test_hub_weights_that_cannot_be_had_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"somebody/model.*folder"):
        open_diffusion(parse_weights("somebody/model"), FP32)


def test_cuda_that_is_not_there_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r'device: "cuda" was asked for, but torch sees no CUDA device'):
        open_generator(inpaint_config(weights=str(folders["nine"])), a_context("cuda", "auto"), Models(), {})
