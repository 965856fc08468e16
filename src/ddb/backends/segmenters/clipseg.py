"""CLIPSeg: a mask for a noun, through transformers. Small and fast; the phrase is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPSegForImageSegmentation

from ddb.backends import Failed, Found, Image
from ddb.backends.batches import Rooms, first_fault, in_fixed_batches
from ddb.backends.segmenters.weights import (
    BLANK,
    SETTING,
    check_length,
    load_model,
    open_part,
    weights_identity,
)
from ddb.backends.weights import readable
from ddb.config import ClipsegConfig
from ddb.context import Models
from ddb.learn.device import Runtime

PROCESSOR = {"backend": "torchvision", "trust_remote_code": False}


@dataclass(frozen=True)
class ClipSeg:
    """A Segmenter. Runs in float32: masks are thresholds, and it is a small part of a run."""

    model: Any
    processor: Any
    tokenizer: Any
    threshold: float
    device: torch.device
    identity: str
    _phrases: dict[str, Tensor] = field(default_factory=dict)
    rooms: Rooms = field(default_factory=lambda: Rooms(SETTING, "take smaller images"))

    @torch.no_grad()
    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        """Pixels whose probability exceeds the threshold. Score: their mean probability; the highest if none does."""

        def work(batch: Sequence[Image]) -> list[Found | Failed]:
            copies = [image.copy() for image in batch]  # torch warns of arrays that cannot be written to
            pixels = self.processor(copies, return_tensors="pt", input_data_format="channels_last").pixel_values
            condition = self._condition(phrase).expand(len(batch), -1)
            logits = self.model(pixel_values=pixels.to(self.device), conditional_embeddings=condition).logits
            checks = [("the segmenter's output", torch.float32, logits)]
            return [first_fault(checks, row) or self._found(logits[row], image) for row, image in enumerate(batch)]

        return in_fixed_batches(work, images, BLANK, self.rooms.of(batch_size))

    def _found(self, logits: Tensor, image: Image) -> Found:
        """Probabilities at the model's size HW -> a mask at the image's size."""
        scaled = torch.nn.functional.interpolate(logits[None, None], image.shape[:2], mode="bilinear")[0, 0]
        probability = scaled.sigmoid()
        mask = probability > self.threshold
        score = probability[mask].mean() if bool(mask.any()) else probability.max()
        return Found(mask.cpu().numpy(), float(score))

    def _condition(self, phrase: str) -> Tensor:
        if phrase not in self._phrases:
            check_length(self.tokenizer, phrase, self.model.config.text_config.max_position_embeddings)
            text = self.tokenizer([phrase], return_tensors="pt").to(self.device)
            self._phrases[phrase] = self.model.clip.get_text_features(**text).pooler_output
        return self._phrases[phrase]


def open_clipseg(settings: ClipsegConfig, runtime: Runtime, models: Models) -> ClipSeg:
    """Open CLIPSeg. ModelError if the weights are missing, gated, damaged or another architecture's."""

    def load(folder: Path, kind: str) -> tuple[Any, Any, Any]:
        return (
            load_model(CLIPSegForImageSegmentation, folder, runtime.device),
            readable(folder, lambda: AutoImageProcessor.from_pretrained(folder, **PROCESSOR)),
            readable(folder, lambda: AutoTokenizer.from_pretrained(folder, trust_remote_code=False)),
        )

    model, processor, tokenizer = open_part(settings, "weights", models, load)
    return ClipSeg(model, processor, tokenizer, settings.threshold, runtime.device, weights_identity(settings))
