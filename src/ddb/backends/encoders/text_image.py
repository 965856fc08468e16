"""CLIP and SigLIP, through transformers: images and texts as vectors of unit length that can be compared.

CLIP (Radford et al. 2021) pools a text at its last token, so texts are padded to the longest and the padding is masked.
SigLIP and SigLIP 2 (Zhai et al. 2023, Tschannen et al. 2025) pool at the last position and were trained on texts padded
to their full length, without a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, Siglip2Model, SiglipModel

from ddb.backends import Failed, Image
from ddb.backends.batches import Rooms, first_fault, in_fixed_batches
from ddb.backends.segmenters.weights import BLANK, PATTERNS, load_model
from ddb.backends.weights import Weights, read_json, readable
from ddb.errors import ModelError
from ddb.learn.device import Runtime

Vectors = npt.NDArray[np.float32]
KINDS: dict[str, Any] = {"clip": CLIPModel, "siglip": SiglipModel, "siglip2": Siglip2Model}
"""`model_type` of config.json -> class. SigLIP 2 of a fixed size is published as "siglip"."""
PROCESSOR = {"backend": "torchvision", "trust_remote_code": False}
SETTING = "discover.batch_size"


@dataclass(frozen=True)
class TextImageEncoder:
    """Runs in float32: differences between cosines are small."""

    model: Any
    processor: Any
    tokenizer: Any
    kind: str
    device: torch.device
    identity: str
    rooms: Rooms = field(default_factory=lambda: Rooms(SETTING, "take a smaller discover.encoder"))

    @torch.no_grad()
    def images(self, images: Sequence[Image | Failed], batch_size: int) -> list[Vectors | Failed]:
        """One vector [D] of unit length per image (uint8 HWC), in order; a `Failed` is returned unchanged."""

        def work(batch: Sequence[Image]) -> list[Vectors | Failed]:
            copies = [image.copy() for image in batch]  # torch warns of arrays that cannot be written to
            inputs = self.processor(copies, return_tensors="pt", input_data_format="channels_last").to(self.device)
            found = _unit(self.model.get_image_features(**inputs).pooler_output)
            checks = [("the encoder's output", torch.float32, found)]
            return [first_fault(checks, row) or found[row].cpu().numpy() for row in range(len(batch))]

        return in_fixed_batches(work, images, BLANK, self.rooms.of(batch_size))

    @torch.no_grad()
    def texts(self, texts: Sequence[str], batch_size: int) -> Vectors:
        """[T, D], T > 0, rows of unit length. Longer texts are cut at the encoder's length."""
        longest = self.model.config.text_config.max_position_embeddings
        padding = True if self.kind == "clip" else "max_length"
        found = []
        for start in range(0, len(texts), batch_size):
            part = [text.lower() for text in texts[start : start + batch_size]]
            inputs = self.tokenizer(part, padding=padding, truncation=True, max_length=longest, return_tensors="pt")
            if self.kind != "clip":
                inputs.pop("attention_mask", None)
            found.append(_unit(self.model.get_text_features(**inputs.to(self.device)).pooler_output).cpu())
        vectors: Vectors = torch.cat(found).numpy()
        return vectors


def open_text_image(weights: Weights, runtime: Runtime) -> TextImageEncoder:
    """Open the encoder of a parsed `discover.encoder`. ModelError if the weights are missing, gated, damaged or another
    architecture's."""
    folder = weights.folder(PATTERNS)
    words = "discover.encoder takes a CLIP or SigLIP model in transformers' layout"
    try:
        kind = read_json(folder / "config.json").get("model_type")
    except ModelError as error:
        raise ModelError(f"{folder}: no readable config.json there; {words}.") from error
    if kind not in KINDS:
        raise ModelError(f"{folder}: holds a {kind} model; {words}.")
    return TextImageEncoder(
        load_model(KINDS[kind], folder, runtime.device),
        readable(folder, lambda: AutoImageProcessor.from_pretrained(folder, **PROCESSOR)),
        readable(folder, lambda: AutoTokenizer.from_pretrained(folder, trust_remote_code=False)),
        kind,
        runtime.device,
        weights.identity,
    )


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=1)
