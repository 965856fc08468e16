"""Settings of stage evaluate."""

from __future__ import annotations

from pydantic import Field

from ddb.config.section import PositiveInt, Section


class EvaluateConfig(Section):
    in_distribution: int = Field(
        0, ge=0, description="training-like images drawn for the in-distribution accuracy (pocket only)"
    )
    batch_size: PositiveInt = Field(128, description="images in a batch")
