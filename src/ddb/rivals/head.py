"""The last layer of a classifier as float64 arrays: reading it, writing it, and converting a head for standardised
features to one for raw features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ddb.errors import ModelError
from ddb.learn.classifier import Classifier

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """logits = features @ weight.T + bias. `weight` float64 [K, D], `bias` float64 [K]."""

    weight: Doubles
    bias: Doubles

    def logits(self, features: npt.NDArray[np.floating]) -> Doubles:
        """[N, D] -> [N, K]"""
        outputs: Doubles = features.astype(np.float64, copy=False) @ self.weight.T + self.bias
        return outputs


def head_of(classifier: Classifier) -> Head:
    """A copy of the classifier's last layer. ModelError where it is not a linear layer with bias."""
    layer = _linear(classifier)
    weight, bias = (tensor.detach().cpu().double().numpy().copy() for tensor in (layer.weight, layer.bias))
    return Head(weight, bias)


def put_head(classifier: Classifier, head: Head) -> None:
    """Copy `head` into the classifier's last layer, in place and in its dtype. ModelError as `head_of`."""
    layer = _linear(classifier)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))


def unscaled(head: Head, mean: Doubles, scale: Doubles) -> Head:
    """The head for raw features with the logits of `head` on (features - mean) / scale; `mean`, `scale` [D]."""
    weight = head.weight / scale
    return Head(weight, head.bias - weight @ mean)


def average(heads: list[Head]) -> Head:
    """The head of mean weights and mean biases."""
    return Head(np.mean([head.weight for head in heads], axis=0), np.mean([head.bias for head in heads], axis=0))


def _linear(classifier: Classifier) -> nn.Linear:
    if not isinstance(classifier.head, nn.Linear) or classifier.head.bias is None:
        kind = type(classifier.head).__name__
        raise ModelError(
            f"The backbone's last layer is a {kind}; methods that fit the last layer alone need a linear layer with "
            "one bias a class. Use another erm.backbone, such as resnet50.tv_in1k."
        )
    return classifier.head
