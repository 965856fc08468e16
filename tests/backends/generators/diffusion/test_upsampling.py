"""Upsampling as a transposed convolution gives what diffusers' layer gives, with fewer operations."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch.utils.flop_counter import FlopCounterMode

from ddb.backends.generators.diffusion.network.model import Diffusion
from ddb.backends.generators.diffusion.network.upsampling import TransposedUpsample, with_transposed_upsampling


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 3), (1, 1)])
def test_it_equals_doubling_and_convolution(height: int, width: int) -> None:
    layer = Upsample2D(6, use_conv=True, out_channels=10)
    x = torch.randn(2, 6, height, width)
    torch.testing.assert_close(TransposedUpsample(layer)(x), layer(x), atol=1e-5, rtol=1e-4)
    odd = (2 * height - 1, 2 * width - 1)
    assert torch.equal(TransposedUpsample(layer)(x, odd), layer(x, odd))
    assert TransposedUpsample(layer)(x, torch.Size([2 * height, 2 * width])).shape == (2, 10, 2 * height, 2 * width)


@torch.no_grad()
def test_it_takes_less_than_half_of_the_operations() -> None:
    layer, x = Upsample2D(8, use_conv=True), torch.randn(1, 8, 16, 16)
    with FlopCounterMode(display=False) as before:
        layer(x)
    with FlopCounterMode(display=False) as after:
        TransposedUpsample(layer)(x)
    assert after.get_total_flops() * 9 == before.get_total_flops() * 4


@torch.no_grad()
def test_a_model_keeps_its_output_and_its_weights(nine: Diffusion) -> None:
    """The VAE was opened with the layers in place; a copy with diffusers' own gives the same images."""
    vae = copy.deepcopy(nine.vae)
    found = [name for name, layer in vae.named_modules() if isinstance(layer, TransposedUpsample)]
    assert found
    for name in found:
        parent, _, last = name.rpartition(".")
        setattr(vae.get_submodule(parent), last, vae.get_submodule(name).layer)
    latents = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(nine.vae.decode(latents).sample, vae.decode(latents).sample, atol=1e-5, rtol=1e-4)
    names = set(vae.state_dict())
    assert {name.replace(".layer.conv", ".conv") for name in with_transposed_upsampling(vae).state_dict()} == names


def test_layers_without_a_convolution_are_left_alone() -> None:
    model = torch.nn.Sequential(Upsample2D(4), Upsample2D(4, use_conv_transpose=True))
    assert [type(layer) for layer in with_transposed_upsampling(model)] == [Upsample2D, Upsample2D]
