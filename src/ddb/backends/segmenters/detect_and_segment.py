"""Boxes for a noun, then a mask in every box: Grounded-SAM (paper: LangSAM) and OWLv2 with SAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ddb.backends import Detected, Detector, Failed, Found, Image, Mask
from ddb.backends.batches import Rooms, in_fixed_batches
from ddb.backends.segmenters.grounding_dino import open_grounding_dino
from ddb.backends.segmenters.owlv2 import open_owlv2
from ddb.backends.segmenters.sam import BoxMasks, open_box_masks
from ddb.backends.segmenters.weights import BLANK, SETTING, weights_identity
from ddb.config import GroundedSamConfig, Owlv2SamConfig
from ddb.context import Models
from ddb.learn.device import Runtime

REMEDY = "take a smaller segment.detector or segment.mask_model, or smaller images"


@dataclass(frozen=True)
class DetectAndSegment:
    """A Segmenter of two models."""

    detector: Detector
    masker: BoxMasks
    identity: str
    rooms: Rooms = field(default_factory=lambda: Rooms(SETTING, REMEDY))

    @torch.no_grad()
    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        """The union of the masks of all boxes. Score: the best box's."""

        def work(batch: Sequence[Image]) -> list[Found | Failed]:
            copies = [image.copy() for image in batch]  # torch warns of arrays that cannot be written to
            detected = self.detector.detect(copies, phrase)
            masks = self.masker.united(copies, [() if isinstance(one, Failed) else one.boxes for one in detected])
            return [_found(*pair) for pair in zip(detected, masks, strict=True)]

        return in_fixed_batches(work, images, BLANK, self.rooms.of(batch_size))


def open_detect_and_segment(
    settings: GroundedSamConfig | Owlv2SamConfig, runtime: Runtime, models: Models
) -> DetectAndSegment:
    """Open the backend's detector and SAM or SAM 2. Errors as those of the two."""
    detector: Detector
    if isinstance(settings, Owlv2SamConfig):
        detector = open_owlv2(settings, runtime.device, models)
    else:
        detector = open_grounding_dino(settings, runtime.device, models)
    return DetectAndSegment(detector, open_box_masks(settings, runtime, models), weights_identity(settings))


def _found(detected: Detected | Failed, mask: Mask | Failed) -> Found | Failed:
    if isinstance(detected, Failed):
        return detected
    return mask if isinstance(mask, Failed) else Found(mask, detected.score, detected.boxes)
