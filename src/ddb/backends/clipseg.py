"""CLIPSeg: a mask for a noun, through transformers. Small and fast; the phrase is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPSegForImageSegmentation
from transformers.utils import logging

from ddb.backends import Found, Image
from ddb.backends.weights import find_folder, identity
from ddb.config import SegmentConfig
from ddb.errors import ModelError
from ddb.learn.device import Runtime
from ddb.pocket.models import segmenter_folder

PATTERNS = ("*.json", "*.txt", "model.safetensors")


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

    @torch.no_grad()
    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str) -> list[Found]:
        """Pixels whose probability exceeds the threshold. Score: their mean probability; the highest if none does."""
        found: list[Found] = []
        for at in range(0, len(images), self.batch_size):
            batch = list(images[at : at + self.batch_size])
            pixels = self.processor(batch, return_tensors="pt").pixel_values.to(self.device)
            condition = self._condition(phrase).expand(len(batch), -1)
            logits = self.model(pixel_values=pixels, conditional_embeddings=condition).logits
            found += [self._found(one, image) for one, image in zip(logits, batch, strict=True)]
        return found

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
    """Load CLIPSeg. ModelError if the weights are missing, gated or damaged."""
    model, processor, tokenizer = _open(settings.weights, runtime.device)
    name = f"clipseg:{identity(settings.weights, segmenter_folder)}"
    return ClipSeg(model, processor, tokenizer, settings.threshold, settings.batch_size, runtime.device, name)


@lru_cache(maxsize=1)
def _open(weights: str, device: torch.device) -> tuple[Any, Any, Any]:
    logging.disable_progress_bar()
    folder = find_folder(weights, segmenter_folder, PATTERNS)
    try:
        model = CLIPSegForImageSegmentation.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
        processor = AutoImageProcessor.from_pretrained(folder, backend="torchvision", trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{folder}: no usable CLIPSeg there, download it again. ({reason[:200]})") from error
    return model.eval().requires_grad_(False).to(device), processor, tokenizer
