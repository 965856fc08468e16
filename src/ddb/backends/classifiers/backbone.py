"""timm's architectures, built for a given input size and checked to have one last layer. The only file that imports
timm."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError


def pretraining(architecture: str) -> dict[str, Any]:
    """timm's configuration of an architecture's pretraining: `mean`, `std`, `interpolation`, `input_size` and more.
    ModelError for an architecture that timm lacks or that does not take three channels."""
    if not timm.is_model(architecture.split(".")[0]):
        near = timm.list_models(f"*{architecture.split('.')[0].split('_')[0]}*")[:5]
        raise ModelError(f"erm.backbone: timm has no {architecture!r}; near it: {', '.join(near) or 'nothing'}.")
    facts: dict[str, Any] = timm.get_pretrained_cfg(architecture, allow_unregistered=True).to_dict()
    channels = facts["input_size"][0]
    if channels != 3:
        raise ModelError(f"erm.backbone: {architecture} takes {channels} channels; pictures have 3 (red, green, blue).")
    return facts


def sized(architecture: str, arguments: Mapping[str, Any], size: int) -> dict[str, Any]:
    """`arguments` of the architecture's constructor, with `img_size` added where it has a fixed input size (a ViT)."""
    facts = pretraining(architecture)
    if facts.get("fixed_input_size") and tuple(facts["input_size"][1:]) != (size, size):
        return {"img_size": size, **arguments}
    return dict(arguments)


def build(architecture: str, arguments: Mapping[str, Any], classes: int, *, pretrained: bool = False) -> nn.Module:
    """The model with a fresh last layer for `classes`. ModelError where timm cannot build it or has no weights."""
    pretraining(architecture)
    size = f" with erm.image_size {arguments['img_size']}" if "img_size" in arguments else ""
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=pretrained, num_classes=classes, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelError(f"erm.backbone: {architecture} cannot be made{size}: {_first_line(error)}.") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise ModelError(f"erm.backbone: {architecture} cannot be made{size}: {_first_line(error)}.") from error
        raise ModelError(
            f"{architecture}: no weights ({type(error).__name__}: {_first_line(error)}). "
            "Without a network use erm.weights=pocket, none or a safetensors file."
        ) from error
    return model


def last_layer(model: nn.Module, architecture: str) -> nn.Module:
    """The model's one last layer. ModelError for a model with two (a distilled DeiT), or none."""
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Module) or not list(head.parameters()):
        kind = f"{len(head)} last layers" if isinstance(head, tuple | list) else "no last layer of its own"
        raise ModelError(
            f"erm.backbone: {architecture} has {kind}; ddb trains and replaces one. Use a backbone with one, such as "
            "resnet50.tv_in1k or deit_tiny_patch16_224."
        )
    return head


def head_names(model: nn.Module, head: nn.Module) -> set[str]:
    """Names of the last layer's tensors in the model's state."""
    prefix = next(name for name, module in model.named_modules() if module is head)
    return {f"{prefix}.{name}" for name in head.state_dict()}


def require_takes(model: nn.Module, architecture: str, size: int, classes: int) -> None:
    """ModelError where the model, left in eval mode, does not turn an image of `size` pixels a side into logits
    [1, classes]. Draws no random numbers."""
    device = next(model.parameters()).device
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            output = model.eval()(torch.zeros(1, 3, size, size, device=device))
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as error:
        own = pretraining(architecture)["input_size"][-1]
        raise ModelError(
            f"erm.image_size: {architecture} does not take images of {size} x {size} ({_first_line(error)}). Set it to "
            f"{own}, the backbone's own size, or choose another erm.backbone."
        ) from error
    if not isinstance(output, Tensor) or tuple(output.shape) != (1, classes):
        shape = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ModelError(f"erm.backbone: {architecture} gives {shape} where logits [1, {classes}] are needed.")


def adapted(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The state dict of the same architecture at another input size, converted for `model` by timm's filter of
    pretrained weights (position embeddings are resampled); `state` itself where the architecture has no filter."""
    rule = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    result: dict[str, Tensor] = rule(dict(state), model) if rule else state
    return result


def evaluation_pictures(facts: Mapping[str, Any]) -> Preprocessing:
    """Preprocessing with which timm evaluates a model of this configuration (`pretrained_cfg`). ModelError for one that
    `Preprocessing` cannot represent."""
    found = timm.data.resolve_data_config(pretrained_cfg=dict(facts), verbose=False)
    channels, height, width = found["input_size"]
    if channels != 3 or height != width:
        raise ModelError(f"its input is {list(found['input_size'])}; ddb's classifiers take 3 channels and a square.")
    return Preprocessing(
        size=height,
        crop=found["crop_pct"],
        interpolation=found["interpolation"],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        crop_mode=found["crop_mode"],
    )


def imagenet_names(outputs: int) -> list[str] | None:
    """The classes of the ImageNet list of this length, as timm and transformers name the outputs of timm's pretrained
    models; None where there is no such list."""
    subset = timm.data.infer_imagenet_subset({"num_classes": outputs})
    return timm.data.ImageNetInfo(subset).label_descriptions() if subset else None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100].rstrip(".")
