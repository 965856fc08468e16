"""Settings of stage segment."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ddb.config.section import PositiveInt, Section, Share

SEGMENTER_STARTS: dict[str, dict[str, str | float]] = {
    "owlv2_sam": {"detector": "google/owlv2-base-patch16-ensemble", "box_threshold": 0.1},
    "sam3": {"weights": "facebook/sam3"},
    "face_parsing": {"weights": "jonathandinu/face-parsing"},
}
"""Values that a segmenter starts from instead of the defaults of `SegmentConfig`."""


class SegmentConfig(Section):
    backend: Literal["clipseg", "grounded_sam", "owlv2_sam", "sam3", "face_parsing", "given"] = Field(
        "clipseg",
        description="grounded_sam: paper; clipseg, owlv2_sam, sam3: prompted too; face_parsing: `labels`; given: files",
    )
    weights: str = Field("CIDAS/clipseg-rd64-refined", description='role, hub id, folder, or "pocket" (clipseg)')
    detector: str = Field("IDEA-Research/grounding-dino-base", description="what finds boxes: role, hub id, folder")
    mask_model: str = Field("facebook/sam-vit-huge", description="SAM or SAM 2: role, hub id or folder")
    masks: str = Field("", description="folder of given masks: <path of the image without suffix>.png, 255 = causal")
    threshold: Share = Field(0.5, description="probability above which a pixel is causal")
    box_threshold: Share = Field(0.3, description="score above which a box or a sam3 object counts (paper: LangSAM's)")
    text_threshold: Share = Field(
        0.25, description="grounded_sam: score that a word of the phrase must exceed in a box (paper: LangSAM's)"
    )
    concept: Literal["instances", "semantic"] = Field(
        "instances", description="sam3: all objects above box_threshold, or its map of the phrase above threshold"
    )
    labels: tuple[str, ...] = Field(
        ("hair",), min_length=1, description="face_parsing: names or numbers of the causal parts"
    )
    shape: Literal["tight", "dilated", "hull", "square"] = Field("square", description="shape of the repainted region")
    expand: float = Field(1.2, ge=1, le=4, description="growth of the region about its centre")
    min_side: Share = Field(0.0, description="smallest side of a square region, share of the image's shorter side")
    min_area: Share = Field(0.005, description="smaller causal parts are skipped, share of the image")
    max_area: Share = Field(0.8, description="larger regions are skipped: no background would be left")
    max_border: Share | None = Field(
        None, description="causal parts with more of their outline on the image's border are skipped; empty: none"
    )
    batch_size: PositiveInt = Field(16, description="images in a batch; halved where memory runs out")

    @model_validator(mode="before")
    @classmethod
    def _start(cls, values: Any) -> Any:
        """What the backend starts from, where nothing else is said."""
        if not isinstance(values, dict) or not isinstance(values.get("backend"), str):
            return values
        return SEGMENTER_STARTS.get(values["backend"], {}) | values

    @model_validator(mode="after")
    def _masks_where_given(self) -> Self:
        if self.backend == "given" and not self.masks:
            raise ValueError('backend "given" needs `masks`, the folder of mask files')
        if self.backend in ("sam3", "face_parsing") and self.weights == "pocket":
            raise ValueError(f'the pocket weights are a CLIPSeg\'s: backend "{self.backend}" needs its own `weights`')
        return self
