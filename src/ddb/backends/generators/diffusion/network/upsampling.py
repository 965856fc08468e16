"""Upsampling layers as one transposed convolution.

diffusers doubles a feature map by repeating each pixel, then convolves it with a 3 x 3 kernel. Both together are a
transposed convolution of stride 2 with a 4 x 4 kernel, the sums of the 3 x 3 kernel's neighbours: 16 products a pixel
and channel pair of the small map instead of 36.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn


class TransposedUpsample(nn.Module):
    """`layer` (doubling and a 3 x 3 convolution) as one transposed convolution. Sizes that are not doubled exactly, of
    maps with an odd side, are left to `layer`."""

    kernel: Tensor

    def __init__(self, layer: Upsample2D) -> None:
        super().__init__()
        self.layer = layer
        kernel = layer.conv.weight.double().transpose(0, 1)  # [in, out, 3, 3]
        padded = F.pad(kernel, (1, 1, 1, 1))  # pixel pairs share a source: neighbours add up
        shifted = [padded[..., y : y + 4, x : x + 4] for y in (0, 1) for x in (0, 1)]
        summed = torch.stack(shifted).sum(0)
        self.register_buffer("kernel", summed.flip(2, 3).to(layer.conv.weight).contiguous(), persistent=False)

    def forward(self, hidden: Tensor, output_size: Any = None) -> Tensor:
        """[B, C, h, w] -> [B, C', 2h, 2w], or `output_size` (h, w)."""
        if output_size is not None and tuple(output_size) != (2 * hidden.shape[2], 2 * hidden.shape[3]):
            left: Tensor = self.layer(hidden, output_size)
            return left
        bias: Any = self.layer.conv.bias
        return F.conv_transpose2d(hidden, self.kernel, bias, stride=2, padding=1)


def with_transposed_upsampling(model: Any) -> Any:
    """`model` (a UNet or VAE) with its upsampling layers replaced, in place. Weights and their names are unchanged but
    for the layers' own prefix."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Upsample2D) and _is_doubling(child):
                setattr(module, name, TransposedUpsample(child))
    return model


def _is_doubling(layer: Upsample2D) -> bool:
    plain = layer.use_conv and layer.interpolate and layer.norm is None and not layer.use_conv_transpose
    return plain and layer.name == "conv" and layer.conv.kernel_size == (3, 3) and layer.conv.padding == (1, 1)
