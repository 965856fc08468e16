"""Grounding DINO: boxes for a noun, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

from ddb.backends import Detected, Detection, Failed, Image
from ddb.backends.batches import first_fault
from ddb.backends.segmenters.weights import check_length, load_model, open_part, words_of
from ddb.backends.weights import readable
from ddb.config import GroundedSamConfig
from ddb.context import Models


@dataclass(frozen=True)
class GroundingDino:
    """A Detector. Runs in float32: bfloat16 has 8 bits for a coordinate, an error of some pixels in an image."""

    model: Any
    processor: Any
    box_threshold: float
    text_threshold: float
    device: torch.device

    def detect(self, images: Sequence[Image], phrase: str) -> list[Detected | Failed]:
        """Boxes whose score exceeds `box_threshold` and whose label is not empty at `text_threshold`; there is no
        suppression of overlaps (as in LangSAM, whose masks are united anyway).

        Images go through the model one by one: they differ in size after scaling, and with padding to a common size an
        image's boxes would depend on the other images of the batch. ConfigError if the phrase has no word, or more than
        the model takes."""
        words = words_of(phrase)
        check_length(self.processor.tokenizer, f"{words}.", self.model.config.max_text_len)
        text = self.processor(text=[[words]], return_tensors="pt").to(self.device)
        return [self._detected(image, text) for image in images]

    def _detected(self, image: Image, text: Any) -> Detected | Failed:
        inputs = self.processor.image_processor(image, return_tensors="pt", input_data_format="channels_last")
        outputs = self.model(pixel_values=inputs.pixel_values.to(self.device), **text)
        scores = outputs.logits.sigmoid()  # the logits of absent words are minus infinity
        checks = [("the detector's output", torch.float32, tensor) for tensor in (scores, outputs.pred_boxes)]
        if (failed := first_fault(checks, 0)) is not None:
            return failed
        (result,) = self.processor.post_process_grounded_object_detection(
            outputs, text["input_ids"], self.box_threshold, self.text_threshold, [image.shape[:2]]
        )
        return _detected(result, float(scores.max()))


def open_grounding_dino(settings: GroundedSamConfig, device: torch.device, models: Models) -> GroundingDino:
    """Open it. ModelError if the weights are missing, gated, damaged or another architecture's."""

    def load(folder: Path, kind: str) -> tuple[Any, Any]:
        return (
            load_model(GroundingDinoForObjectDetection, folder, device),
            readable(folder, lambda: GroundingDinoProcessor.from_pretrained(folder)),
        )

    model, processor = open_part(settings, "detector", models, load)
    return GroundingDino(model, processor, settings.box_threshold, settings.text_threshold, device)


def _detected(result: dict[str, Any], best: float) -> Detected:
    """`best`: the highest score of the image. The processor returns one label even where no box is kept."""
    kept = zip(result["boxes"].tolist(), result["scores"].tolist(), result["text_labels"], strict=False)
    boxes = tuple(Detection(tuple(box), score) for box, score, label in kept if label.strip())
    return Detected(boxes, max((one.score for one in boxes), default=best))
