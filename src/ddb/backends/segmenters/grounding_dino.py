"""Grounding DINO: boxes for a noun, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

from ddb.backends import Detected, Detection, Image
from ddb.backends.segmenters.weights import kind_of, load_model, part_folder, readable
from ddb.config import GroundedSamConfig


@dataclass(frozen=True)
class GroundingDino:
    """A Detector. Runs in float32: bfloat16 has 8 bits for a coordinate, an error of some pixels in an image."""

    model: Any
    processor: Any
    box_threshold: float
    text_threshold: float
    device: torch.device

    def detect(self, images: Sequence[Image], phrase: str) -> list[Detected]:
        """Boxes whose score exceeds `box_threshold` and whose label is not empty at `text_threshold`; there is no
        suppression of overlaps (as in LangSAM, whose masks are united anyway).

        Images go through the model with those of the same size after scaling: padding to a common size would let an
        image's boxes depend on its neighbours (the backbone sees the padding)."""
        inputs = [self.processor.image_processor(image, **self._options()) for image in images]
        text = self.processor(text=[[phrase]], return_tensors="pt").to(self.device)
        found: dict[int, Detected] = {}
        for members in _by_shape([one.pixel_values for one in inputs]):
            pixels = torch.cat([inputs[n].pixel_values for n in members]).to(self.device)
            repeated = {name: value.expand(len(members), -1) for name, value in text.items()}
            outputs = self.model(pixel_values=pixels, **repeated)
            sizes = [images[n].shape[:2] for n in members]
            results = self.processor.post_process_grounded_object_detection(
                outputs, repeated["input_ids"], self.box_threshold, self.text_threshold, sizes
            )
            best = outputs.logits.sigmoid().amax((1, 2)).tolist()
            found |= {n: _detected(*pair) for n, *pair in zip(members, results, best, strict=True)}
        return [found[n] for n in range(len(images))]

    @staticmethod
    def _options() -> dict[str, str]:
        return {"return_tensors": "pt", "input_data_format": "channels_last"}


def open_grounding_dino(settings: GroundedSamConfig, device: torch.device) -> GroundingDino:
    """Load it. ModelError if the weights are missing, gated, damaged or another architecture's."""
    folder = part_folder(settings, "detector")
    kind_of(folder, settings, "detector")
    model = load_model(GroundingDinoForObjectDetection, folder, device)
    processor = readable(folder, lambda: GroundingDinoProcessor.from_pretrained(folder))
    return GroundingDino(model, processor, settings.box_threshold, settings.text_threshold, device)


def _detected(result: dict[str, Any], best: float) -> Detected:
    """`best`: the highest score of the image. Where nothing is kept, the processor decodes one label all the same."""
    kept = zip(result["boxes"].tolist(), result["scores"].tolist(), result["text_labels"], strict=False)
    boxes = tuple(Detection(tuple(box), score) for box, score, label in kept if label.strip())
    return Detected(boxes, max((one.score for one in boxes), default=best))


def _by_shape(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of the tensors of each shape."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, tensor in enumerate(tensors):
        groups.setdefault(tuple(tensor.shape), []).append(number)
    return list(groups.values())
