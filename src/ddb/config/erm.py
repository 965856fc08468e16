"""Settings of stage erm."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from ddb.config.fit import FitConfig


class ErmConfig(FitConfig):
    backbone: str = Field("resnet50.tv_in1k", description="timm architecture; pocket weights bring their own")
    weights: str = Field("hub", description='"hub", "pocket", "none", a role, hub id, or path to a safetensors file')
    image_size: int = Field(224, ge=32, le=1024, description="side of the square input, pixels")
    rank_epoch: int | None = Field(None, ge=1, description="epoch whose losses rank the samples; empty: the one kept")

    @model_validator(mode="after")
    def _rank_within_run(self) -> Self:
        if self.rank_epoch and self.rank_epoch > self.epochs:
            raise ValueError(f"rank_epoch {self.rank_epoch} is after the last of {self.epochs} epochs")
        return self
