"""Which weights each segmenter takes, what names them in fingerprints, and how a part of one is loaded and checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ddb.backends.weights import find_folder, identity, is_local
from ddb.config import SegmentConfig
from ddb.errors import ModelError
from ddb.pocket.models import segmenter_folder

PATTERNS = ("*.json", "*.txt", "model*.safetensors")
KINDS: dict[str, dict[str, tuple[str, ...]]] = {
    "clipseg": {"weights": ("clipseg",)},
    "grounded_sam": {"detector": ("grounding-dino",), "mask_model": ("sam", "sam2", "sam2_video")},
    "owlv2_sam": {"detector": ("owlv2",), "mask_model": ("sam", "sam2", "sam2_video")},
    "sam3": {"weights": ("sam3", "sam3_video")},
    "face_parsing": {"weights": ("segformer",)},
    "given": {},
}
"""Backend -> setting that names weights -> `model_type`s of config.json that it takes (SAM 2.1 and SAM 3 are published
as their video models, which hold the image models)."""


def weights_identity(settings: SegmentConfig) -> str:
    """Name and content hash of every part, "backend:weights"; the id alone of hub weights. Nothing is loaded.

    ModelError if local weights are missing."""
    parts = [identity(getattr(settings, name), pocket_of(settings)) for name in KINDS[settings.backend]]
    return ":".join([settings.backend, *parts])


def check_local(settings: SegmentConfig, name: str) -> None:
    """ModelError if the setting `name` names local or pocket weights that are missing or another architecture's. Hub
    weights are not looked at."""
    if getattr(settings, name) == "pocket" or is_local(getattr(settings, name)):
        kind_of(find_folder(getattr(settings, name), pocket_of(settings), ()), settings, name)


def part_folder(settings: SegmentConfig, name: str) -> Path:
    """The folder with the weights that the setting `name` names, downloaded if need be. ModelError as `find_folder`."""
    return find_folder(getattr(settings, name), pocket_of(settings), PATTERNS)


def kind_of(folder: Path, settings: SegmentConfig, name: str) -> str:
    """`model_type` of the weights in a folder. ModelError if it is none that the setting `name` takes."""
    wanted = KINDS[settings.backend][name]
    words = f"segment.{name} of backend {settings.backend} takes {wanted[0]} weights in transformers' layout"
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder}: no readable config.json there; {words}.") from error
    if kind not in wanted:
        raise ModelError(f"{folder}: holds a {kind} model; {words}.")
    return str(kind)


@lru_cache(maxsize=2)
def load_model(model_class: Any, folder: Path, device: torch.device) -> Any:
    """A frozen model in float32, from safetensors alone; the last two stay in memory (a segmenter has two at most).

    ModelError if weights are damaged, or lack a part of the model (transformers would fill it with random numbers)."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it warns of is checked here, in words of ours
    model, info = readable(
        folder,
        lambda: model_class.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        ),
    )
    if info["missing_keys"]:
        first = sorted(info["missing_keys"])[0]
        raise ModelError(
            f"{folder}: the weights lack {len(info['missing_keys'])} tensors of the model, such as {first}. "
            "They are incomplete, or not trained for this task."
        )
    return model.eval().requires_grad_(False).to(device)


def readable(folder: Path, load: Callable[[], Any]) -> Any:
    """What `load` reads from a folder, or a ModelError that names the folder and the reason."""
    try:
        return load()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{folder}: cannot be loaded, download it again. ({reason[:200]})") from error


def pocket_of(settings: SegmentConfig) -> Callable[[], Path]:
    """Where the pocket weights lie: there are some for CLIPSeg alone."""

    def none() -> Path:
        raise ModelError(f"there are no pocket weights for segment.backend {settings.backend}; they are a CLIPSeg's.")

    return segmenter_folder if settings.backend == "clipseg" else none
