"""SAM 3: masks for a noun in one model, through transformers. Its weights are gated on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import Sam3Model, Sam3Processor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ddb.backends import Detection, Found, Image
from ddb.backends.segmenters.weights import kind_of, load_model, part_folder, readable, weights_identity
from ddb.config import SegmentConfig
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, in_halves


@dataclass(frozen=True)
class Sam3:
    """A Segmenter. The image encoder, nearly all of the work, runs in the runtime's dtype, the rest in float32: boxes
    are coordinates and masks are thresholds. The phrase is encoded once."""

    model: Any
    processor: Any
    settings: SegmentConfig
    runtime: Runtime
    identity: str
    _phrases: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @cached_property
    def _room(self) -> BatchSize:
        return BatchSize(
            self.settings.batch_size,
            "segment.batch_size",
            "choose another segment.backend; this one works at 1008 pixels whatever the image's size",
        )

    @torch.no_grad()
    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str) -> list[Found]:
        """`concept` instances: the union of the objects above `box_threshold`, score: the best one's (the best of all
        where none is above). semantic: the pixels above `threshold`, score: their mean, or the highest."""

        def work(batch: Sequence[Image]) -> list[Found]:
            outputs = self._outputs(batch, phrase)
            sizes = [image.shape[:2] for image in batch]
            return (
                self._semantic(outputs, sizes) if self.settings.concept == "semantic" else self._union(outputs, sizes)
            )

        return in_halves(work, images, self._room)

    def _outputs(self, images: Sequence[Image], phrase: str) -> Any:
        copies = [image.copy() for image in images]  # torch warns of arrays that cannot be written to
        inputs = self.processor(images=copies, return_tensors="pt", input_data_format="channels_last")
        with self.runtime.autocast():
            seen = self.model.get_vision_features(inputs["pixel_values"].to(self.runtime.device))
        for name in ("fpn_hidden_states", "fpn_position_encoding"):
            seen[name] = tuple(level.float() for level in seen[name])
        words, attention = self._encoded(phrase)
        return self.model(
            vision_embeds=seen,
            text_embeds=BaseModelOutputWithPooling(pooler_output=words.expand(len(images), -1, -1)),
            attention_mask=attention.expand(len(images), -1),
        )

    def _encoded(self, phrase: str) -> tuple[Tensor, Tensor]:
        """Features [1, words, width] and attention mask [1, words]."""
        if phrase not in self._phrases:
            text = self.processor(text=phrase, return_tensors="pt").to(self.runtime.device)
            self._phrases[phrase] = self.model.get_text_features(**text).pooler_output, text["attention_mask"]
        return self._phrases[phrase]

    def _union(self, outputs: Any, sizes: list[tuple[int, ...]]) -> list[Found]:
        limit, most = self.settings.box_threshold, outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid()
        results = self.processor.post_process_instance_segmentation(outputs, threshold=limit, target_sizes=sizes)
        found = []
        for result, best, size in zip(results, most.amax(1).tolist(), sizes, strict=True):
            boxes = [
                Detection(tuple(b), s) for b, s in zip(result["boxes"].tolist(), result["scores"].tolist(), strict=True)
            ]
            none = torch.zeros(size, dtype=torch.bool)
            mask = result["masks"].bool().any(dim=0) if boxes else none
            found.append(Found(mask.cpu().numpy(), best, tuple(boxes)))
        return found

    def _semantic(self, outputs: Any, sizes: list[tuple[int, ...]]) -> list[Found]:
        results = self.processor.post_process_semantic_segmentation(
            outputs, target_sizes=sizes, threshold=self.settings.threshold, return_segmentation_scores=True
        )
        found = []
        for result in results:
            mask, probability = result.segmentation.bool(), result.segmentation_scores[0]
            score = probability[mask].mean() if bool(mask.any()) else probability.max()
            found.append(Found(mask.cpu().numpy(), float(score)))
        return found


def open_sam3(settings: SegmentConfig, runtime: Runtime) -> Sam3:
    """Load it. ModelError if the weights are missing, gated, damaged or another architecture's."""
    folder = part_folder(settings, "weights")
    kind_of(folder, settings, "weights")
    model = load_model(Sam3Model, folder, runtime.device)
    processor = readable(folder, lambda: Sam3Processor.from_pretrained(folder))
    return Sam3(model, processor, settings, runtime, weights_identity(settings))
