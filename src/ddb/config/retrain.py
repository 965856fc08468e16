"""Settings of stage retrain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ddb.config.fit import FitConfig
from ddb.config.section import PositiveInt


class RetrainConfig(FitConfig):
    gammas: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (1.0, 1.0), description="weight of each class's counterfactual loss (paper: gamma_1, gamma_2)"
    )
    start: Literal["erm", "pretrained"] = Field("erm", description="weights to start from (paper: erm)")
    last_layer_only: bool = Field(False, description="train the classification layer alone")
    generated_batch: PositiveInt = Field(16, description="counterfactuals of each class in a step")
