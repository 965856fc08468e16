"""OWLv2: boxes for a noun, through transformers. It finds rarer objects than Grounding DINO, with lower scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Owlv2ForObjectDetection, Owlv2Processor

from ddb.backends import Detected, Detection, Failed, Image
from ddb.backends.batches import first_fault
from ddb.backends.segmenters.weights import check_length, load_model, open_part, words_of
from ddb.backends.weights import readable
from ddb.config import Owlv2SamConfig
from ddb.context import Models

TEMPLATE = "a photo of a {}"
"""Prompt template of the model's authors."""


@dataclass(frozen=True)
class Owlv2:
    """A Detector. Runs in float32: bfloat16 has 8 bits for a coordinate, an error of some pixels in an image."""

    model: Any
    processor: Any
    box_threshold: float
    device: torch.device

    def detect(self, images: Sequence[Image], phrase: str) -> list[Detected | Failed]:
        """Boxes whose score exceeds `box_threshold`. The processor pads every image to a square of the same size.
        ConfigError if the phrase holds no word, or more than the model takes."""
        text = TEMPLATE.format(words_of(phrase))
        check_length(self.processor.tokenizer, text, self.model.config.text_config.max_position_embeddings)
        inputs = self.processor(
            text=[[text]] * len(images),
            images=list(images),
            return_tensors="pt",
            input_data_format="channels_last",
        ).to(self.device)
        outputs = self.model(**inputs)
        sizes = [image.shape[:2] for image in images]
        results = self.processor.post_process_grounded_object_detection(outputs, self.box_threshold, sizes)
        scores = outputs.logits.sigmoid()
        checks = [("the detector's output", torch.float32, tensor) for tensor in (scores, outputs.pred_boxes)]
        best = scores.amax((1, 2)).tolist()
        return [first_fault(checks, row) or _detected(result, best[row]) for row, result in enumerate(results)]


def open_owlv2(settings: Owlv2SamConfig, device: torch.device, models: Models) -> Owlv2:
    """Open it. ModelError if the weights are missing, gated, damaged or another architecture's."""

    def load(folder: Path, kind: str) -> tuple[Any, Any]:
        return (
            load_model(Owlv2ForObjectDetection, folder, device),
            readable(folder, lambda: Owlv2Processor.from_pretrained(folder)),
        )

    model, processor = open_part(settings, "detector", models, load)
    return Owlv2(model, processor, settings.box_threshold, device)


def _detected(result: dict[str, Any], best: float) -> Detected:
    kept = zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True)
    return Detected(tuple(Detection(tuple(box), score) for box, score in kept), best)
