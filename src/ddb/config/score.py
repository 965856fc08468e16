"""Settings of stage score."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ddb.config.section import PositiveInt, Section


class ScoreConfig(Section):
    output: Literal["logit", "probability"] = Field("logit", description="f in the attribution score")
    method: Literal["auto", "exact", "integral"] = Field(
        "auto", description="auto: closed form where pixels outside the mask are the source's"
    )
    ig_steps: PositiveInt = Field(32, description="points of the integral (Gauss-Legendre)")
    maps: int = Field(12, ge=0, le=1000, description="attribution maps kept for the report, each direction")
    batch_size: PositiveInt = Field(64, description="images in a batch")
