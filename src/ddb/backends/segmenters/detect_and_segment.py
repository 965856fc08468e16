"""Boxes for a noun, then a mask in every box: Grounded-SAM (paper: LangSAM) and OWLv2 with SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ddb.backends import Detector, Found, Image
from ddb.backends.segmenters.grounding_dino import open_grounding_dino
from ddb.backends.segmenters.owlv2 import open_owlv2
from ddb.backends.segmenters.sam import BoxMasks, open_box_masks
from ddb.backends.segmenters.weights import weights_identity
from ddb.config import SegmentConfig
from ddb.learn.device import Runtime
from ddb.learn.halving import BatchSize, in_halves


@dataclass(frozen=True)
class DetectAndSegment:
    """A Segmenter of two models."""

    detector: Detector
    masker: BoxMasks
    batch_size: int
    identity: str

    @cached_property
    def _room(self) -> BatchSize:
        return BatchSize(
            self.batch_size,
            "segment.batch_size",
            "take a smaller segment.detector or segment.mask_model, or smaller images",
        )

    @torch.no_grad()
    def segment(self, ids: Sequence[str], images: Sequence[Image], phrase: str) -> list[Found]:
        """The union of the masks of all boxes. Score: the best box's."""

        def work(batch: Sequence[Image]) -> list[Found]:
            copies = [image.copy() for image in batch]  # torch warns of arrays that cannot be written to
            detected = self.detector.detect(copies, phrase)
            masks = self.masker.united(copies, [one.boxes for one in detected])
            return [Found(mask, one.score, one.boxes) for mask, one in zip(masks, detected, strict=True)]

        return in_halves(work, images, self._room)


def open_detect_and_segment(settings: SegmentConfig, runtime: Runtime) -> DetectAndSegment:
    """The detector that the backend's name says, with SAM or SAM 2. Errors as theirs."""
    opened = open_owlv2 if settings.backend == "owlv2_sam" else open_grounding_dino
    detector = opened(settings, runtime.device)
    return DetectAndSegment(
        detector, open_box_masks(settings, runtime), settings.batch_size, weights_identity(settings)
    )
