"""Settings of stage retrain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ddb.config.fit import FitConfig
from ddb.config.section import PositiveInt, content


class RetrainConfig(FitConfig):
    gammas: tuple[Annotated[float, Field(ge=0)], ...] = content(
        (1.0, 1.0), description="weight of each class's counterfactual loss (paper: gamma_1, gamma_2)"
    )
    start: Literal["erm", "pretrained"] = content("erm", description="weights to start from (paper: erm)")
    last_layer_only: bool = content(False, description="train the classification layer alone")
    generated_batch: PositiveInt = content(16, description="counterfactuals of each class in a step")

    @field_validator("gammas")
    @classmethod
    def _some_weight(cls, gammas: tuple[float, ...]) -> tuple[float, ...]:
        if not any(gammas):
            raise ValueError("should hold a number above 0, or no counterfactual would count")
        return gammas
