"""Settings of stage score."""

from __future__ import annotations

from typing import Literal

from ddb.config.section import PositiveInt, Section, content, execution


class ScoreConfig(Section):
    output: Literal["logit", "probability"] = content("logit", description="f in the attribution score")
    method: Literal["auto", "exact", "integral"] = content(
        "auto", description="auto: closed form where pixels outside the mask are the source's"
    )
    ig_steps: int = content(32, ge=1, le=1000, description="points of the integral (Gauss-Legendre)")
    maps: int = content(12, ge=0, le=1000, description="attribution maps kept for the report, each direction")
    batch_size: PositiveInt = execution(64, description="images in a batch")
