"""A pass of the UNet in parts gives what diffusers' own forward gives, with less arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from ddb.backends import Task
from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.network.unet import Conditions, is_known, one_pass
from ddb.backends.generators.diffusion.text import Text
from ddb.config import LatentDiffusionConfig

from .test_generator import opened, paint

NEAR = {"atol": 1e-5, "rtol": 1e-4}


def inputs(model: Diffusion, images: int, prompts: int, side: int = 8) -> tuple[torch.Tensor, Text]:
    """Random images, and other words for each of `prompts` rows of an image."""
    draw = torch.Generator().manual_seed(0)
    channels, device = model.unet.config.in_channels, model.runtime.device
    texts = [model.prompts.encode(words) for words in ("a bird", "a cat", "")][:prompts]
    hidden = torch.cat([one.hidden.expand(images, -1, -1) for one in texts])
    pooled = [one.pooled.expand(images, -1) for one in texts if one.pooled is not None]
    text = Text(hidden, torch.cat(pooled) if pooled else None)
    return torch.randn(images, channels, side, side, generator=draw).to(device), text


def theirs(model: Diffusion, images: torch.Tensor, times: torch.Tensor, text: Text) -> torch.Tensor:
    """diffusers' forward, every image repeated for each of its prompts."""
    rows = images.repeat(len(text.hidden) // len(images), 1, 1, 1)
    added = model._size_conditions(text.pooled, images) if text.pooled is not None else None
    output: torch.Tensor = model.unet(rows, times, encoder_hidden_states=text.hidden, added_cond_kwargs=added).sample
    return output


@torch.no_grad()
@pytest.mark.parametrize("prompts", [1, 2, 3])
def test_a_pass_equals_diffusers_forward(model: Diffusion, prompts: int) -> None:
    """For every kind of model (fixture `model`), on latents with even and with odd sides."""
    for side in (8, 6):
        images, text = inputs(model, 3, prompts, side)
        times = torch.tensor(400, device=model.runtime.device)
        found = model.predict(images, times, text)
        torch.testing.assert_close(found, theirs(model, images, times, text), **NEAR)


@torch.no_grad()
def test_each_image_may_have_a_time_of_its_own(model: Diffusion) -> None:
    images, text = inputs(model, 3, 1)
    times = torch.tensor([10, 400, 999], device=model.runtime.device)
    torch.testing.assert_close(model.predict(images, times, text), theirs(model, images, times, text), **NEAR)


@torch.no_grad()
def test_layers_before_the_prompt_are_computed_once_an_image(nine: Diffusion) -> None:
    rows = []
    layers = (nine.unet.conv_in, nine.unet.mid_block)
    handles = [layer.register_forward_pre_hook(lambda _, given: rows.append(len(given[0]))) for layer in layers]
    images, text = inputs(nine, 3, 2)
    nine.predict(images, torch.tensor(400), text)
    for handle in handles:
        handle.remove()
    assert rows == [3, 6]


@torch.no_grad()
def test_deep_features_of_the_same_pass_change_nothing_and_save_most_of_it(nine: Diffusion) -> None:
    images, text = inputs(nine, 2, 1)
    conditions = Conditions(text.hidden)
    with FlopCounterMode(display=False) as whole:
        output, deep = one_pass(nine.unet, images, torch.tensor(400), conditions)
    with FlopCounterMode(display=False) as shallow:
        again, same = one_pass(nine.unet, images, torch.tensor(400), conditions, deep)
    assert torch.equal(output, again) and same is deep
    assert shallow.get_total_flops() < whole.get_total_flops() / 3
    other = one_pass(nine.unet, images + 1, torch.tensor(400), conditions)[1]
    assert not torch.allclose(one_pass(nine.unet, images, torch.tensor(400), conditions, other)[0], output)


def test_deep_every_computes_the_inner_layers_in_every_nth_step(
    nine: Diffusion, tasks: Callable[..., list[Task]]
) -> None:
    """Seven steps of which four are guided: where guidance ends the number of rows changes, and all is computed."""
    given: list[tuple[str, int]] = []
    layers = {"all": nine.unet.conv_in, "deep": nine.unet.mid_block}
    handles = [
        layer.register_forward_pre_hook(lambda _, one, name=name: given.append((name, len(one[0]))))
        for name, layer in layers.items()
    ]
    settings = LatentDiffusionConfig(weights="tiny", image_size=32, steps=7, guidance=3.0, guidance_end=0.5)
    plain = paint(opened(nine, settings), tasks(2), 2)
    assert [name for name, _ in given] == ["all", "deep"] * 7
    given.clear()
    cached = paint(opened(nine, settings.model_copy(update={"deep_every": 3})), tasks(2), 2)
    for handle in handles:
        handle.remove()
    step, deep = ("all", 2), ("deep", 4)
    assert given == [step, deep, step, step, step, deep, step, ("deep", 2), step, step, ("deep", 2)]
    assert any((a.image != b.image).any() for a, b in zip(plain, cached, strict=True))


def test_unets_of_other_blocks_are_not_known(nine: Diffusion) -> None:
    small: dict[str, Any] = {"sample_size": 8, "block_out_channels": (16, 16), "norm_num_groups": 4}
    up = ("UpBlock2D", "AttnUpBlock2D")
    other = UNet2DConditionModel(down_block_types=("AttnDownBlock2D", "DownBlock2D"), up_block_types=up, **small)
    assert is_known(nine.unet) and not is_known(other)
