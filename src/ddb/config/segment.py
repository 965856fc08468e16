"""Settings of stage segment: one class per segmenter, with the fields that this segmenter reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from ddb.config.choice import starting_with, tag_required
from ddb.config.section import Name, PositiveInt, Section, Share, StageName, content, execution

MASKS: tuple[StageName, ...] = ("segment", "invert", "inpaint")
"""Stages that read settings which decide a mask; inpaint: where `inpaint.paste` is "objects"."""
REGIONS: tuple[StageName, ...] = ("segment", "invert")
"""Stages that read settings by which a region is made from a mask."""
BACKEND = "grounded_sam: paper; clipseg, owlv2_sam, sam3: prompted too; face_parsing: `labels`; given: files"
ABOVE = "score above which a box counts"


def _no_pocket(weights: str) -> str:
    if weights == "pocket":
        raise ValueError("the pocket weights are a CLIPSeg's: this backend needs its own")
    return weights


OwnWeights = Annotated[Name, AfterValidator(_no_pocket)]


class RegionConfig(Section):
    """Settings that every segmenter reads: making a region to repaint from a mask, and the batch size."""

    backend: str
    shape: Literal["tight", "dilated", "hull", "square"] = content(
        "square", reads=REGIONS, description="shape of the repainted region"
    )
    expand: float = content(1.2, ge=1, le=4, reads=REGIONS, description="growth of the region about its centre")
    min_side: Share = content(
        0.0, reads=REGIONS, description="smallest side of a square region, share of the image's shorter side"
    )
    min_area: Share = content(0.005, reads=REGIONS, description="smaller causal parts are skipped, share of the image")
    max_area: Share = content(0.8, reads=REGIONS, description="larger regions are skipped: no background would be left")
    max_border: Share | None = content(
        None,
        reads=REGIONS,
        description="causal parts with more of their outline on the image's border are skipped; empty: none",
    )
    batch_size: PositiveInt = execution(16, description="images in a batch; halved where memory runs out")

    @model_validator(mode="after")
    def _some_area(self) -> Self:
        if self.min_area >= self.max_area:
            raise ValueError(f"min_area {self.min_area} should be below max_area {self.max_area}")
        return self


class ClipsegConfig(RegionConfig):
    backend: Literal["clipseg"] = content("clipseg", reads=MASKS, description=BACKEND)
    weights: Name = content(
        "CIDAS/clipseg-rd64-refined",
        reads=MASKS,
        reference=True,
        description='CLIPSeg: role, hub id, folder, or "pocket"',
    )
    threshold: Share = content(0.5, reads=MASKS, description="probability above which a pixel is causal")


class DetectorConfig(RegionConfig):
    """Settings of segmenters that detect boxes first."""

    detector: Name
    mask_model: Name = content(
        "facebook/sam-vit-huge", reads=MASKS, reference=True, description="SAM or SAM 2: role, hub id or folder"
    )


class GroundedSamConfig(DetectorConfig):
    model_config = ConfigDict(json_schema_extra=tag_required)

    backend: Literal["grounded_sam"] = content("grounded_sam", reads=MASKS, description=BACKEND)
    detector: Name = content(
        "IDEA-Research/grounding-dino-base",
        reads=MASKS,
        reference=True,
        description="Grounding DINO, which finds boxes: role, hub id, folder",
    )
    box_threshold: Share = content(0.3, reads=MASKS, description=f"{ABOVE} (paper: LangSAM's)")
    text_threshold: Share = content(
        0.25, reads=MASKS, description="score that a word of the phrase must exceed in a box (paper: LangSAM's)"
    )


class Owlv2SamConfig(DetectorConfig):
    model_config = ConfigDict(json_schema_extra=tag_required)

    backend: Literal["owlv2_sam"] = content("owlv2_sam", reads=MASKS, description=BACKEND)
    detector: Name = content(
        "google/owlv2-base-patch16-ensemble",
        reads=MASKS,
        reference=True,
        description="OWLv2, which finds boxes: role, hub id, folder",
    )
    box_threshold: Share = content(0.1, reads=MASKS, description=ABOVE)


class Sam3Config(RegionConfig):
    model_config = ConfigDict(json_schema_extra=tag_required)

    backend: Literal["sam3"] = content("sam3", reads=MASKS, description=BACKEND)
    weights: OwnWeights = content(
        "facebook/sam3", reads=MASKS, reference=True, description="SAM 3: role, hub id or folder"
    )
    concept: Literal["instances", "semantic"] = content(
        "instances",
        reads=MASKS,
        description="all objects above box_threshold, or the map of the phrase above threshold",
    )
    box_threshold: Share = content(0.3, reads=MASKS, description="instances: score above which an object counts")
    threshold: Share = content(0.5, reads=MASKS, description="semantic: probability above which a pixel is causal")


class FaceParsingConfig(RegionConfig):
    model_config = ConfigDict(json_schema_extra=tag_required)

    backend: Literal["face_parsing"] = content("face_parsing", reads=MASKS, description=BACKEND)
    weights: OwnWeights = content(
        "jonathandinu/face-parsing",
        reads=MASKS,
        reference=True,
        description="SegFormer of a face's parts: role, hub id or folder",
    )
    labels: tuple[Name, ...] = content(
        ("hair",), reads=MASKS, min_length=1, description="names or numbers of the causal parts"
    )


class GivenMasksConfig(RegionConfig):
    model_config = ConfigDict(json_schema_extra=tag_required)

    backend: Literal["given"] = content("given", reads=MASKS, description=BACKEND)
    masks: Name = content(
        ...,
        reads=MASKS,
        reference=True,
        description="folder of PNG masks, <path of the image without suffix>.png, or a COCO file (.json)",
    )


SegmentConfig = Annotated[
    ClipsegConfig | GroundedSamConfig | Owlv2SamConfig | Sam3Config | FaceParsingConfig | GivenMasksConfig,
    Field(discriminator="backend"),
    BeforeValidator(starting_with("clipseg")),
]
"""Settings of the segmenter that `backend` names; clipseg where it names none."""

_SEGMENT: TypeAdapter[SegmentConfig] = TypeAdapter(SegmentConfig)


def segment_config(**values: Any) -> SegmentConfig:
    """Settings of the segmenter `backend` (default: clipseg). pydantic's ValidationError lists the faults."""
    return _SEGMENT.validate_python(values)
