"""OWLv2: boxes for a noun, through transformers. It finds rarer things than Grounding DINO does, with lower scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Owlv2ForObjectDetection, Owlv2Processor

from ddb.backends import Detected, Detection, Image
from ddb.backends.segmenters.weights import kind_of, load_model, part_folder, readable
from ddb.config import Owlv2SamConfig

TEMPLATE = "a photo of a {}"
"""How the model's authors ask for a class."""


@dataclass(frozen=True)
class Owlv2:
    """A Detector. Runs in float32: bfloat16 has 8 bits for a coordinate, an error of some pixels in an image."""

    model: Any
    processor: Any
    box_threshold: float
    device: torch.device

    def detect(self, images: Sequence[Image], phrase: str) -> list[Detected]:
        """Boxes whose score exceeds `box_threshold`. The processor pads every image to a square of the same size."""
        inputs = self.processor(
            text=[[TEMPLATE.format(phrase)]] * len(images),
            images=list(images),
            return_tensors="pt",
            input_data_format="channels_last",
        ).to(self.device)
        outputs = self.model(**inputs)
        sizes = [image.shape[:2] for image in images]
        results = self.processor.post_process_grounded_object_detection(outputs, self.box_threshold, sizes)
        best = outputs.logits.sigmoid().amax((1, 2)).tolist()
        return [_detected(result, top) for result, top in zip(results, best, strict=True)]


def open_owlv2(settings: Owlv2SamConfig, device: torch.device) -> Owlv2:
    """Load it. ModelError if the weights are missing, gated, damaged or another architecture's."""
    folder = part_folder(settings, "detector")
    kind_of(folder, settings, "detector")
    model = load_model(Owlv2ForObjectDetection, folder, device)
    processor = readable(folder, lambda: Owlv2Processor.from_pretrained(folder))
    return Owlv2(model, processor, settings.box_threshold, device)


def _detected(result: dict[str, Any], best: float) -> Detected:
    kept = zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True)
    return Detected(tuple(Detection(tuple(box), score) for box, score in kept), best)
