"""The modules that a patched public code builds where it would build torchvision's ResNet-50 or its last layer."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

_HERE = '__import__("benchmarks.parity.handed", fromlist=["made"]).made'
MODEL = f'{_HERE}("model")'
HEAD = f'{_HERE}("head")'
"""What patches put in the place of the public code's own construction."""

_makers: dict[str, Callable[[], nn.Module]] = {}


def hand(model: Callable[[], nn.Module], head: Callable[[], nn.Module] | None = None) -> None:
    """From now on, MODEL is a new module of `model`, and HEAD one of `head`."""
    _makers["model"] = model
    if head is not None:
        _makers["head"] = head


def made(name: str) -> nn.Module:
    return _makers[name]()


class Body(nn.Module):
    """A classifier without its last layer; `n_outputs` features."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.n_outputs = model.get_classifier().in_features  # type: ignore[operator]
        model.reset_classifier(0)  # type: ignore[operator]
        self.model = model

    def forward(self, images):  # type: ignore[no-untyped-def]
        return self.model(images)
