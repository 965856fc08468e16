"""SAM and SAM 2 (2.1): masks for boxes, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Sam2Model, Sam2Processor, SamModel, SamProcessor

from ddb.backends import Detection, Failed, Image, Mask
from ddb.backends.batches import first_fault
from ddb.backends.segmenters.weights import load_model, open_part
from ddb.backends.weights import readable
from ddb.config import GroundedSamConfig, Owlv2SamConfig
from ddb.context import Models
from ddb.learn.device import Runtime

AT_ONCE = 8
"""Boxes of an image that are decoded at a time: a mask at the image's size takes 4 bytes a pixel."""


@dataclass(frozen=True)
class BoxMasks:
    """SAM or SAM 2. The image encoder, nearly all of the work, runs in the runtime's dtype; prompts and mask decoder in
    float32, since masks are thresholds."""

    model: Any
    processor: Any
    runtime: Runtime

    def united(self, images: Sequence[Image], boxes: Sequence[Sequence[Detection]]) -> list[Mask | Failed]:
        """The union of the masks of an image's boxes, one mask a box; empty where there are none.

        All images are encoded in one batch, those without boxes too, and boxes are decoded in groups of `AT_ONCE`, an
        image at a time, filled up with a box of the group: shapes do not depend on what was found in other images."""
        masks: list[Mask | Failed] = [np.zeros(image.shape[:2], np.bool_) for image in images]
        if not any(boxes):
            return masks
        most = -(-max(map(len, boxes)) // AT_ONCE) * AT_ONCE
        lists = [[list(one.box) for one in own] or [[0.0, 0.0, 1.0, 1.0]] for own in boxes]
        inputs = self.processor(
            images=list(images),
            input_boxes=[(own * most)[:most] for own in lists],
            return_tensors="pt",
            input_data_format="channels_last",
        )
        with self.runtime.autocast():
            encoded = self.model.get_image_embeddings(inputs["pixel_values"].to(self.runtime.device))
        for row, own in enumerate(boxes):
            if own:
                masks[row] = self._union(encoded, inputs, row, len(own))
        return masks

    def _union(self, encoded: Any, inputs: Any, row: int, count: int) -> Mask | Failed:
        """The union of the masks of the first `count` boxes of an image."""
        height, width = inputs["original_sizes"][row].tolist()
        union: Mask = np.zeros((height, width), np.bool_)
        prompts = inputs["input_boxes"][row : row + 1].float()
        for at in range(0, count, AT_ONCE):
            logits = self._decode(encoded, row, prompts[:, at : at + AT_ONCE])[:, : count - at]
            if (failed := first_fault([("the mask model's output", self.runtime.dtype, logits)], 0)) is not None:
                return failed
            union |= self._finished(logits, inputs, row)
        return union

    def _decode(self, encoded: Any, row: int, boxes: torch.Tensor) -> torch.Tensor:
        """Mask logits [1, boxes, 1, h, w] at the model's resolution."""
        levels = encoded if isinstance(encoded, list) else [encoded]
        chosen = [level[row : row + 1].float() for level in levels]
        outputs = self.model(
            image_embeddings=chosen if isinstance(encoded, list) else chosen[0],
            input_boxes=boxes.to(self.runtime.device),
            multimask_output=False,
        )
        logits: torch.Tensor = outputs.pred_masks
        return logits

    def _finished(self, logits: torch.Tensor, inputs: Any, row: int) -> Mask:
        """The union over boxes at the image's own size."""
        sizes = [inputs[name][row : row + 1] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        (masks,) = self.processor.post_process_masks([logits[0]], *sizes)
        mask: Mask = masks.flatten(0, 1).any(dim=0).cpu().numpy()
        return mask


def open_box_masks(settings: GroundedSamConfig | Owlv2SamConfig, runtime: Runtime, models: Models) -> BoxMasks:
    """Open SAM or SAM 2, as the weights say. ModelError if they are missing, gated, damaged or another
    architecture's."""

    def load(folder: Path, kind: str) -> tuple[Any, Any]:
        classes = (SamModel, SamProcessor) if kind == "sam" else (Sam2Model, Sam2Processor)
        model = load_model(classes[0], folder, runtime.device)
        return model, readable(folder, lambda: classes[1].from_pretrained(folder))

    return BoxMasks(*open_part(settings, "mask_model", models, load), runtime)
