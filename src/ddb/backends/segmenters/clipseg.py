"""CLIPSeg: a mask for a noun, through transformers. Small and fast; the phrase is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPSegForImageSegmentation

from ddb.backends import Found, Image
from ddb.backends.segmenters.weights import kind_of, load_model, part_folder, readable, weights_identity
from ddb.config import SegmentConfig
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, in_halves

PROCESSOR = {"backend": "torchvision", "trust_remote_code": False}


@dataclass(frozen=True)
class ClipSeg:
    """A Segmenter. Runs in float32: masks are thresholds, and it is a small part of a run."""

    model: Any
    processor: Any
    tokenizer: Any
    threshold: float
    batch_size: int
    device: torch.device
    identity: str
    _phrases: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def _room(self) -> BatchSize:
        remedy = "take smaller images"
        return BatchSize(self.batch_size, "segment.batch_size", remedy)

    @torch.no_grad()
    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str) -> list[Found]:
        """Pixels whose probability exceeds the threshold. Score: their mean probability; the highest if none does."""

        def work(batch: Sequence[Image]) -> list[Found]:
            copies = [image.copy() for image in batch]  # torch warns of arrays that cannot be written to
            pixels = self.processor(copies, return_tensors="pt", input_data_format="channels_last").pixel_values
            condition = self._condition(phrase).expand(len(batch), -1)
            logits = self.model(pixel_values=pixels.to(self.device), conditional_embeddings=condition).logits
            return [self._found(one, image) for one, image in zip(logits, batch, strict=True)]

        return in_halves(work, images, self._room)

    def _found(self, logits: Tensor, image: Image) -> Found:
        """Probabilities at the model's size HW -> a mask at the image's size."""
        scaled = torch.nn.functional.interpolate(logits[None, None], image.shape[:2], mode="bilinear")[0, 0]
        probability = scaled.sigmoid()
        mask = probability > self.threshold
        score = probability[mask].mean() if bool(mask.any()) else probability.max()
        return Found(mask.cpu().numpy(), float(score))

    def _condition(self, phrase: str) -> Tensor:
        if phrase not in self._phrases:
            text = self.tokenizer([phrase], return_tensors="pt").to(self.device)
            self._phrases[phrase] = self.model.clip.get_text_features(**text).pooler_output
        return self._phrases[phrase]


def open_clipseg(settings: SegmentConfig, runtime: Runtime) -> ClipSeg:
    """Load CLIPSeg. ModelError if the weights are missing, gated, damaged or another architecture's."""
    folder = part_folder(settings, "weights")
    kind_of(folder, settings, "weights")
    model = load_model(CLIPSegForImageSegmentation, folder, runtime.device)
    processor = readable(folder, lambda: AutoImageProcessor.from_pretrained(folder, **PROCESSOR))
    tokenizer = readable(folder, lambda: AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
    name = weights_identity(settings)
    return ClipSeg(model, processor, tokenizer, settings.threshold, settings.batch_size, runtime.device, name)
