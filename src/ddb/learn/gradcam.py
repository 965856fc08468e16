"""Class activation maps of convolutional classifiers: XGrad-CAM (Fu et al., BMVC 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddb.errors import ModelError
from ddb.learn.classifier import Classifier, Pixels, to_tensor
from ddb.learn.device import Runtime
from ddb.learn.predict import Floats

EPSILON = 1e-7
SIDE = 7
"""Smallest side of the feature map that is used: that of ResNet-50's last map at 224 pixels. At small input sizes the
last map has a side of 2 or 4, too coarse to show a part; then the last map with sides of at least `SIDE` is used."""


def xgradcam(classifier: Classifier, pixels: Pixels, runtime: Runtime, batch_size: int) -> Floats:
    """Heat maps float32 [N, S, S] >= 0 of the predicted class of `pixels` uint8 [N, S, S, 3], from the last feature map
    with sides of at least `SIDE`.

    H = relu(sum_k w_k A_k), w_k = sum_xy (A_k dy/dA_k) / sum_xy A_k, enlarged bilinearly. Maps are not normalised,
    since only pixels of the same image are compared. ModelError for a model without feature maps (a transformer).
    """
    model = classifier.on(runtime.device).eval()
    maps = []
    for start in range(0, len(pixels), batch_size):
        images = classifier.normalise(to_tensor(pixels[start : start + batch_size], runtime.device))
        with _last_map(model) as activation, runtime.autocast(), torch.enable_grad():
            top = model(images.requires_grad_(True)).float().max(dim=1).values.sum()
        (gradient,) = torch.autograd.grad(top, activation())
        small = weighted_map(activation().detach().float(), gradient.float())
        large = F.interpolate(small[:, None], size=images.shape[2:], mode="bilinear", align_corners=False)
        maps.append(large[:, 0].cpu().numpy())
    return np.concatenate(maps)


def weighted_map(activations: Tensor, gradients: Tensor) -> Tensor:
    """XGrad-CAM of feature maps and their gradients [B, C, h, w]: [B, h, w] >= 0."""
    weights = (activations * gradients).sum((2, 3)) / (activations.sum((2, 3)) + EPSILON)
    return (weights[:, :, None, None] * activations).sum(1).relu()


@contextmanager
def _last_map(model: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """A function that returns, after a forward pass, the last feature map with sides of at least `SIDE`; where there is
    none, the last of the largest ones."""
    seen: list[Tensor] = []

    def fineness(output: Tensor) -> int:
        height, width = output.shape[2:]
        return min(SIDE, height, width)

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and fineness(output) >= max([2, *map(fineness, seen)]):
            seen[:] = [output]

    def found() -> Tensor:
        if not seen:
            raise ModelError(
                "The backbone has no feature map with height and width, which class activation maps need. Use a "
                "convolutional erm.backbone, such as resnet50.tv_in1k."
            )
        return seen[0]

    handles = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
