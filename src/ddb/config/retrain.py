"""Settings of stage retrain."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ddb.config.fit import FitConfig
from ddb.config.section import PositiveInt, content


class RetrainConfig(FitConfig):
    gammas: tuple[Annotated[float, Field(ge=0)], ...] = content(
        (1.0, 1.0),
        description="weight of each class's counterfactual loss (paper: gamma_1, gamma_2); cross_entropy reads it",
    )
    start: Literal["erm", "pretrained"] = content("erm", description="weights to start from (paper: erm)")
    method: Literal["cross_entropy", "group_dro", "last_layer"] = content(
        "cross_entropy",
        description="cross_entropy (paper): one loss term a class; the others weigh or draw the cells (class, class of "
        "the source) alike: group_dro, the whole network; last_layer, the classification layer alone",
    )
    generated_batch: PositiveInt = content(16, description="counterfactuals of each class in a step")

    @field_validator("gammas")
    @classmethod
    def _some_weight(cls, gammas: tuple[float, ...]) -> tuple[float, ...]:
        if not any(gammas):
            raise ValueError("should hold a number above 0, or no counterfactual would count")
        return gammas
