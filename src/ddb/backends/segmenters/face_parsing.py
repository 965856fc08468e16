"""Parts of a face, such as hair, by a SegFormer that was trained for them, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from ddb.backends import Failed, Found, Image
from ddb.backends.batches import Rooms, first_fault, in_fixed_batches
from ddb.backends.segmenters.weights import BLANK, SETTING, load_model, open_part, weights_identity
from ddb.backends.weights import readable
from ddb.config import FaceParsingConfig
from ddb.context import Models
from ddb.errors import ConfigError
from ddb.learn.device import Runtime


@dataclass(frozen=True)
class FaceParsing:
    """A Segmenter with a fixed list of parts; the phrase is not used. Logits are compared in float32."""

    model: Any
    processor: Any
    parts: tuple[int, ...]
    runtime: Runtime
    identity: str
    rooms: Rooms = field(default_factory=lambda: Rooms(SETTING, "take a smaller segment.weights, or smaller images"))

    @torch.no_grad()
    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        """Pixels whose likeliest part is one of `parts`. Score: the parts' mean probability there; the highest anywhere
        if there are none."""
        return in_fixed_batches(self._batch, images, BLANK, self.rooms.of(batch_size))

    def _batch(self, images: Sequence[Image]) -> list[Found | Failed]:
        copies = [image.copy() for image in images]  # torch warns of arrays that cannot be written to
        inputs = self.processor(copies, return_tensors="pt", input_data_format="channels_last")
        with self.runtime.autocast():
            outputs = self.model(inputs["pixel_values"].to(self.runtime.device))
        outputs.logits = outputs.logits.float()
        results = self.processor.post_process_semantic_segmentation(
            outputs, [image.shape[:2] for image in images], return_segmentation_scores=True
        )
        checks = [("the segmenter's output", self.runtime.dtype, outputs.logits)]
        return [
            first_fault(checks, row) or self._found(result.segmentation, result.segmentation_scores)
            for row, result in enumerate(results)
        ]

    def _found(self, segmentation: Tensor, logits: Tensor) -> Found:
        """`segmentation` [H, W]: the most probable part of each pixel; `logits` [parts, H, W]."""
        mask = torch.isin(segmentation, torch.tensor(self.parts, device=segmentation.device))
        probability = logits.softmax(0)[list(self.parts)].sum(0)
        score = probability[mask].mean() if bool(mask.any()) else probability.max()
        return Found(mask.cpu().numpy(), float(score))


def open_face_parsing(settings: FaceParsingConfig, runtime: Runtime, models: Models) -> FaceParsing:
    """Open it. ModelError if the weights are missing, gated, damaged or another architecture's; ConfigError if they
    know none of `labels`."""

    def load(folder: Path, kind: str) -> tuple[Any, Any]:
        return (
            load_model(SegformerForSemanticSegmentation, folder, runtime.device),
            readable(folder, lambda: SegformerImageProcessor.from_pretrained(folder)),
        )

    model, processor = open_part(settings, "weights", models, load)
    parts = part_numbers(settings.labels, model.config.id2label)
    return FaceParsing(model, processor, parts, runtime, weights_identity(settings))


def part_numbers(labels: Sequence[str], known: Mapping[int, str]) -> tuple[int, ...]:
    """Numbers of the asked parts, rising; a label is a name in any case, or a number. ConfigError lists all."""
    numbers = {name.casefold(): number for number, name in known.items()} | {str(number): number for number in known}
    unknown = [label for label in labels if label.casefold() not in numbers]
    if unknown:
        there = ", ".join(f"{number} {name}" for number, name in sorted(known.items()))
        raise ConfigError(f"segment.labels: these weights know no {', '.join(unknown)}; there are: {there}.")
    return tuple(sorted({numbers[label.casefold()] for label in labels}))
