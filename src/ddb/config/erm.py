"""Settings of stage erm."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from ddb.config.fit import FitConfig
from ddb.config.section import Name, content


class ErmConfig(FitConfig):
    backbone: Name = content("resnet50.tv_in1k", description="timm architecture; pocket weights bring their own")
    weights: Name = content(
        "hub", reference=True, description='"hub", "pocket", "none", a role, hub id, or path to a safetensors file'
    )
    image_size: int = content(224, ge=32, le=1024, description="side of the square input, pixels")
    rank_epoch: int | None = content(None, ge=1, description="epoch whose losses rank the samples; empty: the one kept")

    @model_validator(mode="after")
    def _rank_within_run(self) -> Self:
        if self.rank_epoch and self.rank_epoch > self.epochs:
            raise ValueError(f"rank_epoch {self.rank_epoch} is after the last of {self.epochs} epochs")
        return self
