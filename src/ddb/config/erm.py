"""Settings of stage erm."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from ddb.config.fit import FitConfig
from ddb.config.section import Name, content


class ErmConfig(FitConfig):
    classifier: Name | None = content(
        None,
        reference=True,
        description="trained classifier with its head, which is scored and not trained: path, role or hub id",
    )
    class_map: dict[Name, Name] = content({}, description="the classifier's name of a class: the data's name of it")
    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = content(
        20, description="passes over the training images; 0: nothing is trained, weights bring the head"
    )
    backbone: Name = content("resnet50.tv_in1k", description="timm architecture; pocket weights bring their own")
    weights: Name = content(
        "hub", reference=True, description='"hub", "pocket", "none", a role, hub id, or path to a safetensors file'
    )
    image_size: int = content(224, ge=32, le=1024, description="side of the square input, pixels")
    rank_epoch: int | None = content(None, ge=1, description="epoch whose losses rank the samples; empty: the one kept")

    @field_validator("class_map", mode="before")
    @classmethod
    def _numbers_as_names(cls, mapped: Any) -> Any:
        """An output without a name is called by its number, which YAML reads as one."""
        return {str(key): value for key, value in mapped.items()} if isinstance(mapped, dict) else mapped

    @model_validator(mode="after")
    def _rank_within_run(self) -> Self:
        if self.rank_epoch and self.classifier:
            raise ValueError("rank_epoch names an epoch of training, and a given classifier is not trained")
        if self.rank_epoch and self.rank_epoch > self.epochs:
            raise ValueError(f"rank_epoch {self.rank_epoch} is after the last of {self.epochs} epochs")
        return self
