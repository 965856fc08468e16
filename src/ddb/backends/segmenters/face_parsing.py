"""Parts of a face, such as hair, by a SegFormer that was trained for them, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from ddb.backends import Found, Image
from ddb.backends.segmenters.weights import kind_of, load_model, part_folder, readable, weights_identity
from ddb.config import SegmentConfig
from ddb.errors import ConfigError
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, in_halves


@dataclass(frozen=True)
class FaceParsing:
    """A Segmenter with a closed list of parts: the phrase is not asked for. Logits are compared in float32."""

    model: Any
    processor: Any
    parts: tuple[int, ...]
    batch_size: int
    runtime: Runtime
    identity: str

    @cached_property
    def _room(self) -> BatchSize:
        remedy = "take a smaller segment.weights, or smaller images"
        return BatchSize(self.batch_size, "segment.batch_size", remedy)

    @torch.no_grad()
    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str) -> list[Found]:
        """Pixels whose likeliest part is one of `parts`. Score: the parts' mean probability there; the highest anywhere
        if there are none."""
        return in_halves(self._batch, images, self._room)

    def _batch(self, images: Sequence[Image]) -> list[Found]:
        copies = [image.copy() for image in images]  # torch warns of arrays that cannot be written to
        inputs = self.processor(copies, return_tensors="pt", input_data_format="channels_last")
        with self.runtime.autocast():
            outputs = self.model(inputs["pixel_values"].to(self.runtime.device))
        outputs.logits = outputs.logits.float()
        results = self.processor.post_process_semantic_segmentation(
            outputs, [image.shape[:2] for image in images], return_segmentation_scores=True
        )
        return [self._found(result.segmentation, result.segmentation_scores) for result in results]

    def _found(self, segmentation: Tensor, logits: Tensor) -> Found:
        """`segmentation` HW, the likeliest part; `logits` parts x HW."""
        mask = torch.isin(segmentation, torch.tensor(self.parts, device=segmentation.device))
        probability = logits.softmax(0)[list(self.parts)].sum(0)
        score = probability[mask].mean() if bool(mask.any()) else probability.max()
        return Found(mask.cpu().numpy(), float(score))


def open_face_parsing(settings: SegmentConfig, runtime: Runtime) -> FaceParsing:
    """Load it. ModelError if the weights are missing, gated, damaged or another architecture's; ConfigError if they
    know none of `labels`."""
    folder = part_folder(settings, "weights")
    kind_of(folder, settings, "weights")
    model = load_model(SegformerForSemanticSegmentation, folder, runtime.device)
    processor = readable(folder, lambda: SegformerImageProcessor.from_pretrained(folder))
    parts = part_numbers(settings.labels, model.config.id2label)
    return FaceParsing(model, processor, parts, settings.batch_size, runtime, weights_identity(settings))


def part_numbers(labels: Sequence[str], known: Mapping[int, str]) -> tuple[int, ...]:
    """Numbers of the asked parts, rising; a label is a name in any case, or a number. ConfigError lists all."""
    numbers = {name.casefold(): number for number, name in known.items()} | {str(number): number for number in known}
    unknown = [label for label in labels if label.casefold() not in numbers]
    if unknown:
        there = ", ".join(f"{number} {name}" for number, name in sorted(known.items()))
        raise ConfigError(f"segment.labels: these weights know no {', '.join(unknown)}; there are: {there}.")
    return tuple(sorted({numbers[label.casefold()] for label in labels}))
