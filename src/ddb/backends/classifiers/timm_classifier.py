"""timm backbones as classifiers: made and checked; and classifiers of either library saved and loaded.

A saved classifier is a folder with `classifier.json` (architecture, classes, preprocessing), `model.safetensors` (the
library's own names of tensors) and the library's own description, so that timm or transformers load the folder without
ddb: `config.json`, and of a transformers model `preprocessor_config.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddb.backends.classifiers.backbone import (
    adapted,
    build,
    head_names,
    last_layer,
    pretraining,
    require_takes,
    sized,
)
from ddb.backends.classifiers.loaded import Card as Card
from ddb.backends.classifiers.loaded import LoadedClassifier as LoadedClassifier
from ddb.backends.classifiers.named_weights import weights_path
from ddb.backends.classifiers.timm_config import timm_config
from ddb.backends.classifiers.trained.files import CARD as CARD
from ddb.backends.classifiers.trained.files import CONFIG, WEIGHTS
from ddb.backends.classifiers.weight_files import read_shapes, read_weights, require_fit, shapes_of
from ddb.backends.weights import parse_weights, read_json
from ddb.config import ErmConfig
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn.classifier import Classifier
from ddb.learn.training.checkpoint import save_tensors
from ddb.pocket.models import backbone_folder


def create_classifier(settings: ErmConfig, classes: Sequence[str], seed: int) -> LoadedClassifier:
    """A backbone with a fresh last layer for `classes` and the weights `settings.weights`.

    "hub": timm's pretrained weights; "pocket": the small ones shipped with ddb; "none": random; else a safetensors
    file, or model.safetensors and config.json in timm's or the pocket's form: a folder, a role of `ddb models list` or
    a hub id. Raises ModelError, which names the setting, for weights that are missing or do not fit, and for a backbone
    that does not take `settings.image_size` or has not one last layer.
    """
    torch.manual_seed(seed)
    architecture, arguments = _architecture(settings)
    card = Card(architecture, arguments, tuple(classes), preprocessing_of(settings))
    model = build(architecture, arguments, len(classes), pretrained=settings.weights == "hub")
    head = last_layer(model, architecture)
    if settings.weights not in ("hub", "none"):
        _fill_body(model, head, weights_path(settings.weights), architecture)
    require_takes(model, architecture, settings.image_size, len(classes))
    return LoadedClassifier(Classifier(model.eval(), head, card.preprocessing), card)


def create_like(settings: ErmConfig, classes: Sequence[str], seed: int, pictures: Preprocessing) -> LoadedClassifier:
    """As `create_classifier`, for a classifier that is compared with another on the same squares: size, crop and
    interpolation are those of `pictures`, mean and std those of the backbone's own pretraining."""
    made = create_classifier(settings.model_copy(update={"image_size": pictures.size}), classes, seed)
    own = made.card.preprocessing
    how = replace(pictures, mean=own.mean, std=own.std)
    return LoadedClassifier(replace(made.classifier, preprocessing=how), replace(made.card, preprocessing=how))


def check_backbone(settings: ErmConfig) -> None:
    """Check a backbone without a download: ModelError as `create_classifier` where the architecture does not exist,
    does not take `settings.image_size`, or does not fit the header of local weights."""
    preprocessing_of(settings)
    architecture, arguments = _architecture(settings)
    with torch.device("meta"), torch.random.fork_rng([]):
        model = build(architecture, arguments, 2)
    head = last_layer(model, architecture)
    require_takes(model, architecture, settings.image_size, 2)
    if _local(settings.weights):
        path = weights_path(settings.weights)
        resampled = {name for name, _ in model.named_parameters() if "pos_embed" in name or "rel_pos" in name}
        apart = head_names(model, head) | (resampled if "img_size" in arguments else set())
        require_fit(path, read_shapes(path), shapes_of(model.state_dict()), apart, architecture)


def preprocessing_of(settings: ErmConfig) -> Preprocessing:
    """Preprocessing of the classifier that `create_classifier` makes from these settings: the whole central square at
    `image_size`, with the interpolation, mean and std of the pretraining. ModelError as `create_classifier`."""
    shipped = _shipped(settings)
    facts = shipped if "mean" in shipped else shipped.get("pretrained_cfg") or pretraining(_architecture(settings)[0])
    return Preprocessing(
        size=settings.image_size,
        crop=1.0,
        interpolation=facts.get("interpolation", "bicubic"),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
    )


def save_classifier(loaded: LoadedClassifier, folder: Path) -> None:
    """Write the files; the card goes last, so a folder with a card is complete."""
    if loaded.card.library == "transformers":
        from ddb.backends.classifiers.transformers_classifier import save_transformers

        save_transformers(loaded, folder)
    else:
        save_tensors(folder / WEIGHTS, loaded.classifier.model.state_dict(), {"format": "pt"})
        _write_json(folder / CONFIG, timm_config(loaded.card, loaded.classifier.model))
    _write_json(folder / CARD, asdict(loaded.card))


def load_classifier(folder: str | Path) -> LoadedClassifier:
    """Load a classifier that `save_classifier` wrote. ModelError where it is missing, damaged or of an older
    version."""
    folder = Path(folder)
    card = read_card(folder)
    if card.library == "transformers":
        from ddb.backends.classifiers.transformers_classifier import load_transformers

        return load_transformers(folder, card)
    model = build(card.architecture, card.model_args, len(card.classes))
    state, own = read_weights(folder / WEIGHTS), model.state_dict()
    require_fit(folder / WEIGHTS, shapes_of(state), shapes_of(own), set(), card.architecture)
    model.load_state_dict({name: state[name] for name in own})
    head = last_layer(model, card.architecture)
    return LoadedClassifier(Classifier(model.eval(), head, card.preprocessing), card)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)


def read_card(folder: Path) -> Card:
    """The card of a saved classifier. ModelError where it is missing, damaged or of an older version."""
    path = folder / CARD
    if not path.exists():
        raise ModelError(f"{folder} holds no classifier: {CARD} is missing. A run folder has one at RUN/classifier.")
    values = read_json(path)
    if "preprocessing" not in values:
        raise ModelError(f"{path} was written by an older version of ddb: train that classifier again.")
    try:
        pictures: dict[str, Any] = values["preprocessing"]
        colours = {name: tuple(pictures[name]) for name in ("mean", "std")}
        how = Preprocessing(**{**pictures, **colours})
        library = values.get("library", "timm")
        return Card(values["architecture"], values["model_args"], tuple(values["classes"]), how, library)
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path} describes no classifier of ddb ({error}): copy the folder again.") from error


def _local(weights: str) -> bool:
    """Whether the weights are files on this machine."""
    return weights not in ("hub", "none") and (weights == "pocket" or parse_weights(weights, backbone_folder).is_local)


def _shipped(settings: ErmConfig) -> Mapping[str, Any]:
    """The content of config.json beside the weights; empty where there is none."""
    if settings.weights in ("hub", "none"):
        return {}
    path = weights_path(settings.weights).parent / "config.json"
    return read_json(path) if path.exists() else {}


def _architecture(settings: ErmConfig) -> tuple[str, dict[str, Any]]:
    """timm's name of the architecture and the arguments of its constructor at this image size."""
    shipped = _shipped(settings)
    architecture = shipped.get("architecture", settings.backbone)
    return architecture, sized(architecture, shipped.get("model_args", {}), settings.image_size)


def _fill_body(model: nn.Module, head: nn.Module, path: Path, architecture: str) -> None:
    """Load everything but the last layer, which stays fresh."""
    apart, own, state = head_names(model, head), model.state_dict(), read_weights(path)
    if any(name in state and state[name].shape != own[name].shape for name in set(own) - apart):
        state = adapted(state, model)
    require_fit(path, shapes_of(state), shapes_of(own), apart, architecture)
    model.load_state_dict({name: state[name] for name in own if name not in apart}, strict=False)
