"""`config.json` of a saved timm classifier, in the form that timm (`local-dir:`) and transformers read."""

from __future__ import annotations

from typing import Any

from torch import nn

from ddb.backends.classifiers.backbone import pretraining
from ddb.backends.classifiers.loaded import Card

KEPT = ("tag", "fixed_input_size", "first_conv", "classifier")
"""What is taken over from the architecture's own configuration."""


def timm_config(card: Card, model: nn.Module) -> dict[str, Any]:
    """The content of config.json: architecture and constructor's arguments, names of the outputs, and the
    preprocessing with which the classifier was trained and measured."""
    facts, own, classes = pretraining(card.architecture), card.preprocessing, len(card.classes)
    return {
        "architecture": card.architecture.split(".")[0],
        "num_classes": classes,
        "num_features": getattr(model, "num_features", None),
        "label_names": list(card.classes),
        "model_args": card.model_args,
        "pretrained_cfg": {
            **{name: facts[name] for name in KEPT if name in facts},
            "custom_load": False,
            "input_size": [3, own.size, own.size],
            "interpolation": own.interpolation,
            "crop_pct": own.crop,
            "crop_mode": own.crop_mode,
            "mean": list(own.mean),
            "std": list(own.std),
            "num_classes": classes,
        },
    }
