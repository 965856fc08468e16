"""timm backbones as classifiers: made, saved and loaded. The only file that knows timm.

A saved classifier is a folder with `model.safetensors` (timm's own names, so plain timm loads it) and
`classifier.json` (architecture, classes, preprocessing).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ddb.backends.weights import content_name, find_folder, identity, is_local
from ddb.config import ErmConfig
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn.checkpoint import save_tensors
from ddb.learn.classifier import Classifier
from ddb.learn.device import open_accelerator
from ddb.learn.predict import logits, softmax
from ddb.pocket.models import backbone_folder

WEIGHTS = "model.safetensors"
CARD = "classifier.json"


@dataclass(frozen=True)
class Card:
    """What `classifier.json` says: timm's name of the architecture and the arguments that it was made with, the classes
    in the order of the outputs, and how pictures become its input."""

    architecture: str
    model_args: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier with its card. `predict` is the public way to use it."""

    classifier: Classifier
    card: Card

    def predict(
        self, images: Sequence[Image.Image], batch_size: int = 64, device: str = "auto"
    ) -> list[dict[str, float]]:
        """PIL images of any size and mode -> for each, the probability of every class by name."""
        if not images:
            return []
        upright = [np.asarray(ImageOps.exif_transpose(image).convert("RGB")) for image in images]
        pixels = np.stack([self.card.preprocessing.square(image) for image in upright])
        outputs = logits(self.classifier, pixels, open_accelerator(device, "fp32"), batch_size)
        return [dict(zip(self.card.classes, row.tolist(), strict=True)) for row in softmax(outputs)]


def create_classifier(settings: ErmConfig, classes: Sequence[str], seed: int) -> LoadedClassifier:
    """A backbone with a fresh last layer for `classes`, its weights as `settings.weights` says.

    "hub": timm's pretrained weights; "pocket": the small ones shipped with ddb; "none": random; else a safetensors
    file, or model.safetensors and config.json in timm's or the pocket's form: a folder, a role of `ddb models list` or
    a hub id. Raises ModelError.
    """
    torch.manual_seed(seed)
    if settings.weights in ("hub", "none"):
        model = _build(settings.backbone, {}, len(classes), pretrained=settings.weights == "hub")
        return _loaded(model, Card(settings.backbone, {}, tuple(classes), preprocessing_of(settings)))
    path = weights_path(settings.weights)
    architecture, arguments = _architecture(settings)
    model = _build(architecture, arguments, len(classes), pretrained=False)
    _fill_body(model, _read(path), path)
    return _loaded(model, Card(architecture, arguments, tuple(classes), preprocessing_of(settings)))


def preprocessing_of(settings: ErmConfig) -> Preprocessing:
    """How pictures become the input of the classifier that these settings make, known before it is made: the whole
    central square at `image_size`, with the interpolation, mean and std of the pretraining. ModelError as
    `create_classifier`."""
    shipped = _shipped(settings)
    if "mean" in shipped:
        return _preprocessing(settings.image_size, shipped)
    if shipped.get("pretrained_cfg"):
        return _preprocessing(settings.image_size, shipped["pretrained_cfg"])
    architecture, _ = _architecture(settings)
    _require_architecture(architecture)
    return _preprocessing(settings.image_size, timm.get_pretrained_cfg(architecture, allow_unregistered=True).to_dict())


def _shipped(settings: ErmConfig) -> dict[str, Any]:
    """What config.json beside local weights says; empty where there is none."""
    if settings.weights in ("hub", "none"):
        return {}
    path = weights_path(settings.weights).parent / "config.json"
    facts: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return facts


def _architecture(settings: ErmConfig) -> tuple[str, dict[str, Any]]:
    """timm's name and the arguments that the weights were made with."""
    shipped = _shipped(settings)
    return shipped.get("architecture", settings.backbone), shipped.get("model_args", {})


def backbone_identity(settings: ErmConfig) -> str:
    """What names the weights that `create_classifier` starts from in fingerprints: local ones by their content. Asked
    before any download. ModelError if local weights are missing."""
    weights = settings.weights
    if weights in ("hub", "none"):
        return f"{settings.backbone}@{weights}"
    if weights == "pocket" or not is_local(weights):
        return identity(weights, backbone_folder)
    weights_path(weights)  # are they there?
    return content_name(Path(weights).expanduser())


def save_classifier(loaded: LoadedClassifier, folder: Path) -> None:
    """Write the two files; the card goes last, so a folder with a card is complete."""
    save_tensors(folder / WEIGHTS, loaded.classifier.model.state_dict(), {"format": "pt"})
    temporary = folder / f"{CARD}.tmp"
    temporary.write_text(json.dumps(asdict(loaded.card), indent=2) + "\n")
    os.replace(temporary, folder / CARD)


def load_classifier(folder: str | Path) -> LoadedClassifier:
    """Read what `save_classifier` wrote. Raises ModelError."""
    folder = Path(folder)
    if not (folder / CARD).exists():
        raise ModelError(f"{folder} holds no classifier: {CARD} is missing. A run keeps one in 7-retrain/classifier.")
    values = json.loads((folder / CARD).read_text())
    if "preprocessing" not in values:
        raise ModelError(f"{folder / CARD} was written by an older version of ddb: train that classifier again.")
    card = _read_card(values)
    model = _build(card.architecture, card.model_args, len(card.classes), pretrained=False)
    try:
        model.load_state_dict(_read(folder / WEIGHTS))
    except RuntimeError as error:
        raise ModelError(f"{folder / WEIGHTS} does not fit {card.architecture}: {error}") from error
    return _loaded(model, card)


def _build(architecture: str, arguments: dict[str, Any], classes: int, *, pretrained: bool) -> nn.Module:
    _require_architecture(architecture)
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=pretrained, num_classes=classes, **arguments)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"{architecture}: no weights ({type(error).__name__}: {str(error).splitlines()[0][:100]}). "
            "Without a network use erm.weights=pocket, none or a safetensors file."
        ) from error
    return model


def _require_architecture(architecture: str) -> None:
    if not timm.is_model(architecture.split(".")[0]):
        near = timm.list_models(f"*{architecture.split('.')[0].split('_')[0]}*")[:5]
        raise ModelError(f"erm.backbone: timm has no {architecture!r}; near it: {', '.join(near) or 'nothing'}.")


def weights_path(weights: str) -> Path:
    """The safetensors file that `erm.weights` names ("hub" and "none" name none). ModelError if it is missing."""
    if weights == "pocket" or not is_local(weights):
        path = find_folder(weights, backbone_folder, (WEIGHTS, "config.json"))
    else:
        path = Path(weights).expanduser()
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise ModelError(f"erm.weights: {weights} is neither a safetensors file nor a folder with {WEIGHTS}.")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error


def _fill_body(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load everything but the last layer, which stays fresh."""
    own = model.state_dict()
    head = _head_names(model)
    wrong = [name for name in own if name not in head and (name not in state or state[name].shape != own[name].shape)]
    if wrong:
        raise ModelError(f"{path}: {len(wrong)} tensors are missing or of another shape, first {wrong[0]!r}.")
    model.load_state_dict({name: state[name] for name in own if name not in head}, strict=False)


def _head_names(model: nn.Module) -> set[str]:
    head = model.get_classifier()  # type: ignore[operator]
    prefix = next(name for name, module in model.named_modules() if module is head)
    return {f"{prefix}.{name}" for name in head.state_dict()}


def _read_card(values: dict[str, Any]) -> Card:
    pictures = values["preprocessing"]
    colours = {name: tuple(pictures[name]) for name in ("mean", "std")}
    return Card(
        architecture=values["architecture"],
        model_args=values["model_args"],
        classes=tuple(values["classes"]),
        preprocessing=Preprocessing(**{**pictures, **colours}),
    )


def _preprocessing(size: int, facts: Mapping[str, Any]) -> Preprocessing:
    """The whole central square at `size`, resized and normalised as the pretraining's `facts` say."""
    return Preprocessing(
        size=size,
        crop=1.0,
        interpolation=facts.get("interpolation", "bicubic"),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
    )


def _loaded(model: nn.Module, card: Card) -> LoadedClassifier:
    head = model.get_classifier()  # type: ignore[operator]
    return LoadedClassifier(Classifier(model.eval(), head, card.preprocessing), card)
