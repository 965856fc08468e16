"""One pass of diffusers' UNet2DConditionModel, layer by layer, so that painting computes less than `UNet.forward`:

- The two passes of guidance have the same images and different prompts. Layers before the first cross-attention do not
  read the prompt, so they are computed once for each image.
- Step caching (DeepCache, arXiv 2312.00858, section 3.2): of a pass, everything but the outermost layers can be taken
  over from the pass before (`deep`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.models.unets.unet_2d_blocks import (
    CrossAttnDownBlock2D,
    CrossAttnUpBlock2D,
    DownBlock2D,
    UNetMidBlock2DCrossAttn,
    UpBlock2D,
)
from torch import Tensor

BLOCKS = (CrossAttnDownBlock2D, CrossAttnUpBlock2D, DownBlock2D, UpBlock2D)


@dataclass(frozen=True)
class Conditions:
    """Inputs of a pass besides images and times, for R rows, a multiple of the number of images: `text` [R, length,
    width]; `guidance` [1, d], the embedded guidance scale of distilled models; `added`: Stable Diffusion XL's."""

    text: Tensor
    guidance: Tensor | None = None
    added: dict[str, Tensor] | None = None


class OnePass(Protocol):
    """`one_pass`, or a compiled form of it."""

    def __call__(
        self, unet: Any, images: Tensor, times: Tensor, conditions: Conditions, deep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...


def is_known(unet: Any) -> bool:
    """Whether a UNet consists of the blocks that `one_pass` computes: those of Stable Diffusion 1.5, 2 and XL."""
    blocks = (*unet.down_blocks, *unet.up_blocks)
    return all(type(block) in BLOCKS for block in blocks) and type(unet.mid_block) is UNetMidBlock2DCrossAttn


def one_pass(
    unet: Any, images: Tensor, times: Tensor, conditions: Conditions, deep: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The output of `unet` [R, channels, h, w] for `images` [B, channels, h, w] in the UNet's dtype, and its deep
    features: the input of the last layer of the last up block, [R, width, h, w]. `times`: one number, or [B] where
    R = B. Row r belongs to image r mod B.

    With `deep`, the deep features of another pass, only the layers outside of them are computed."""
    if unet.config.center_input_sample:
        images = 2 * images - 1.0
    embedded, text = _embedded(unet, images, times, conditions), conditions.text
    if len(embedded) == len(text):  # Stable Diffusion XL's first layers read the prompt's pooled vector
        images = _wide(images, text)
    outermost = unet.conv_in(images)
    *_, (resnet, attention) = _layers(unet.up_blocks[-1])
    if deep is None:
        deep = _deep(unet, outermost, embedded, text)
    hidden = _layer(resnet, attention, torch.cat([deep, _wide(outermost, text)], dim=1), embedded, text)
    if unet.conv_norm_out is not None:
        hidden = unet.conv_act(unet.conv_norm_out(hidden))
    return unet.conv_out(hidden), deep


def _deep(unet: Any, hidden: Tensor, embedded: Tensor, text: Tensor) -> Tensor:
    """The deep features, from the output of the first convolution."""
    skips = [hidden]
    for block in unet.down_blocks:
        for resnet, attention in _layers(block):
            hidden = _layer(resnet, attention, hidden, embedded, text)
            skips.append(hidden)
        for sampler in block.downsamplers or ():
            hidden = sampler(hidden)
            skips.append(hidden)
    hidden = unet.mid_block(_wide(hidden, text), embedded, encoder_hidden_states=text)
    for block in unet.up_blocks:
        for resnet, attention in _layers(block):
            if len(skips) == 1:  # the last layer
                return hidden
            hidden = _layer(resnet, attention, torch.cat([hidden, _wide(skips.pop(), text)], dim=1), embedded, text)
        for sampler in block.upsamplers or ():
            hidden = sampler(hidden, skips[-1].shape[-2:])
    raise ValueError("a UNet's up blocks have a layer for each output of its down blocks")


def _layers(block: Any) -> Iterator[tuple[Any, Any]]:
    """The residual layers of a block, each with its attention (None in blocks without)."""
    return zip(block.resnets, getattr(block, "attentions", [None] * len(block.resnets)), strict=True)


def _layer(resnet: Any, attention: Any, hidden: Tensor, embedded: Tensor, text: Tensor) -> Tensor:
    result: Tensor = resnet(hidden, embedded)
    if attention is None:
        return result
    attended: Tensor = attention(_wide(result, text), encoder_hidden_states=text, return_dict=False)[0]
    return attended


def _wide(hidden: Tensor, text: Tensor) -> Tensor:
    """Features of B images repeated to the rows of `text`; unchanged if they have as many rows already."""
    return hidden if len(hidden) == len(text) else hidden.repeat(len(text) // len(hidden), 1, 1, 1)


def _embedded(unet: Any, images: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
    """The embedding of time and other conditions: one row for each row of the conditions that differs."""
    projected = unet.time_proj(times.reshape(-1).to(images.device)).to(images.dtype)
    embedded: Tensor = unet.time_embedding(projected, conditions.guidance)
    if conditions.added is not None:
        embedded = embedded + unet.get_aug_embed(embedded, conditions.text, conditions.added)
    return embedded if unet.time_embed_act is None else unet.time_embed_act(embedded)
