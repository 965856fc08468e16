"""SAM and SAM 2 (2.1): masks for boxes, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Sam2Model, Sam2Processor, SamModel, SamProcessor

from ddb.backends import Detection, Image, Mask
from ddb.backends.segmenters.weights import kind_of, load_model, part_folder, readable
from ddb.config import GroundedSamConfig, Owlv2SamConfig
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

    def united(self, images: Sequence[Image], boxes: Sequence[Sequence[Detection]]) -> list[Mask]:
        """The union of the masks of an image's boxes, one mask a box; empty where there are none.

        Each image is encoded once. The number of boxes differs: shorter lists are padded by repeating a box of their
        own, which cannot change a union."""
        masks: list[Mask] = [np.zeros(image.shape[:2], np.bool_) for image in images]
        asked = [n for n, found in enumerate(boxes) if found]
        if not asked:
            return masks
        most = max(len(boxes[n]) for n in asked)
        lists = [[list(one.box) for one in boxes[n]] for n in asked]
        inputs = self.processor(
            images=[images[n] for n in asked],
            input_boxes=[(own * most)[:most] for own in lists],
            return_tensors="pt",
            input_data_format="channels_last",
        )
        with self.runtime.autocast():
            encoded = self.model.get_image_embeddings(inputs["pixel_values"].to(self.runtime.device))
        prompts = inputs["input_boxes"].float()
        for at in range(0, most, AT_ONCE):
            rows = [row for row, own in enumerate(lists) if len(own) > at]
            logits = self._decode(encoded, rows, prompts[rows, at : at + AT_ONCE])
            for row, mask in zip(rows, self._finished(logits, inputs, rows), strict=True):
                masks[asked[row]] |= mask
        return masks

    def _decode(self, encoded: Any, rows: list[int], boxes: torch.Tensor) -> torch.Tensor:
        """Mask logits [rows, boxes, 1, h, w] at the model's resolution."""
        levels = encoded if isinstance(encoded, list) else [encoded]
        chosen = [level[rows].float() for level in levels]
        outputs = self.model(
            image_embeddings=chosen if isinstance(encoded, list) else chosen[0],
            input_boxes=boxes.to(self.runtime.device),
            multimask_output=False,
        )
        logits: torch.Tensor = outputs.pred_masks
        return logits

    def _finished(self, logits: torch.Tensor, inputs: Any, rows: list[int]) -> list[Mask]:
        """The union over boxes at each image's own size, one image at a time."""
        finished: list[Mask] = []
        for own, row in zip(logits, rows, strict=True):
            sizes = [
                inputs[name][row : row + 1] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs
            ]
            (masks,) = self.processor.post_process_masks([own], *sizes)
            finished.append(masks.flatten(0, 1).any(dim=0).cpu().numpy())
        return finished


def open_box_masks(settings: GroundedSamConfig | Owlv2SamConfig, runtime: Runtime) -> BoxMasks:
    """Load SAM or SAM 2, as the weights say. ModelError if they are missing, gated, damaged or another
    architecture's."""
    folder = part_folder(settings, "mask_model")
    first = kind_of(folder, settings, "mask_model") == "sam"
    model = load_model(SamModel if first else Sam2Model, folder, runtime.device)
    processor = SamProcessor if first else Sam2Processor
    return BoxMasks(model, readable(folder, lambda: processor.from_pretrained(folder)), runtime)
