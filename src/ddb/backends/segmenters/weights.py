"""Weights of segmenters: the kinds that each backend takes, their identity for fingerprints, loading and checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ddb.backends.weights import Weights, parse_weights, read_json, readable
from ddb.config import SegmentConfig
from ddb.context import Models
from ddb.errors import ConfigError, ModelError
from ddb.pocket.models import segmenter_folder

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
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
SETTING = "segment.batch_size"
BLANK = np.full((64, 64, 3), 127, np.uint8)
"""A grey image, which replaces failed images and pads the last batch."""


def part_weights(settings: SegmentConfig, name: str) -> Weights:
    """The setting `name`, which names weights, parsed. Pocket weights are a CLIPSeg's."""
    return parse_weights(getattr(settings, name), segmenter_folder if settings.backend == "clipseg" else None)


def part_name(settings: SegmentConfig, name: str) -> str:
    """The name under which the model of the setting `name` is opened: one for each architecture and weights."""
    return f"{KINDS[settings.backend][name][0]} {getattr(settings, name)}"


def weights_identity(settings: SegmentConfig) -> str:
    """Backend and identity of the weights of every part, "backend:weights". Nothing is loaded or downloaded.

    ModelError if local weights are missing."""
    return ":".join([settings.backend, *(part_weights(settings, name).identity for name in KINDS[settings.backend])])


def open_part(settings: SegmentConfig, name: str, models: Models, load: Callable[[Path, str], T]) -> T:
    """The result of `load` for the folder of the setting `name` and its `model_type`, loaded once per run. Published
    weights are downloaded if they are missing. ModelError if they are missing, gated or another architecture's."""
    weights = part_weights(settings, name)

    def opened() -> T:
        if weights.kind == "pocket" and weights.pocket is None:
            raise ModelError(
                f"there are no pocket weights for segment.backend {settings.backend}; they are a CLIPSeg's."
            )
        folder = weights.folder(PATTERNS)
        return load(folder, kind_of(folder, settings, name))

    return models.open(part_name(settings, name), opened)


def kind_of(folder: Path, settings: SegmentConfig, name: str) -> str:
    """`model_type` of the weights in a folder. ModelError if the setting `name` does not take it."""
    wanted = KINDS[settings.backend][name]
    words = f"segment.{name} of backend {settings.backend} takes {wanted[0]} weights in transformers' layout"
    try:
        kind = read_json(folder / "config.json").get("model_type")
    except ModelError as error:
        raise ModelError(f"{folder}: no readable config.json there; {words}.") from error
    if kind not in wanted:
        raise ModelError(f"{folder}: holds a {kind} model; {words}.")
    return str(kind)


def load_model(model_class: Any, folder: Path, device: torch.device) -> Any:
    """A frozen model in float32, from safetensors alone. On the device "meta" no weights are read: their names and
    shapes are checked against config.json, without memory.

    ModelError if weights are damaged, or lack a part of the model (transformers would fill it with random numbers)."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # its warnings are replaced by the checks below
    options: dict[str, Any] = {"device_map": "meta"} if device.type == "meta" else {}
    options |= {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True, "local_files_only": True}
    model, info = readable(folder, lambda: model_class.from_pretrained(folder, **options))
    if info["missing_keys"]:
        first = sorted(info["missing_keys"])[0]
        raise ModelError(
            f"{folder}: the weights lack {len(info['missing_keys'])} tensors of the model, such as {first}. "
            "They are incomplete, or not trained for this task."
        )
    return readable(folder, lambda: model.eval().requires_grad_(False).to(device))


def words_of(phrase: str) -> str:
    """The phrase in the form of detectors: lower case, single spaces, without the characters that separate phrases
    (full stop, question mark). ConfigError if nothing is left."""
    words = " ".join(phrase.lower().replace(".", " ").replace("?", " ").split())
    if not words:
        raise ConfigError(f"data.phrase: {phrase!r} holds no word; give the noun of what is looked for, such as bird.")
    return words


def check_length(tokenizer: Any, text: str, most: int) -> None:
    """ConfigError if a text has more than `most` tokens."""
    count = len(tokenizer(text).input_ids)
    if count > most:
        raise ConfigError(f"data.phrase: {text[:40]!r}... has {count} tokens, the segmenter takes {most}; shorten it.")
