"""Settings of stage evaluate."""

from __future__ import annotations

from ddb.config.section import PositiveInt, Section, content, execution, extent


class EvaluateConfig(Section):
    in_distribution: int = extent(
        0, ge=0, le=1_000_000, description="training-like images drawn for the in-distribution accuracy (pocket only)"
    )
    maps: int = content(
        8, ge=0, le=1000, description="test images repaired, and newly broken, with attribution maps for the report"
    )
    batch_size: PositiveInt = execution(128, description="images in a batch")
