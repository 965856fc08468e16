"""Settings that ERM and retraining share."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from ddb.config.section import PositiveInt, Section, Share, content

GROUPED = ("worst_group", "discovered")
"""Values of `selection` that compare groups of the validation images: the given or the discovered ones."""


class Augment(Section):
    """Training augmentation; evaluation uses none."""

    scale: tuple[float, float] = content((0.7, 1.0), description="area share of the random resized crop")
    flip: bool = content(True, description="mirror half of the images")
    colour: float = content(0.0, ge=0, le=1, description="strength of brightness, contrast and saturation jitter")
    blur: Share = content(0.0, description="share of images that are blurred slightly (hides traces of a generator)")
    noise: float = content(0.0, ge=0, le=64, description="largest standard deviation of added noise, grey levels")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError("should be two rising shares above 0 and up to 1, such as [0.7, 1.0]")
        return scale


class FitConfig(Section):
    """Settings that ERM and retraining share; each is read by the stage that its section is named after."""

    epochs: PositiveInt = content(20, description="passes over the training images")
    batch_size: PositiveInt = content(32, description="training images in a step")
    lr: float = content(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = content(1e-3, ge=0, description="decoupled for adamw, L2 for sgd")
    optimiser: Literal["sgd", "adamw"] = content("sgd", description="sgd: momentum 0.9")
    schedule: Literal["constant", "cosine"] = content("constant", description="learning rate over the run")
    augment: Augment = Augment()
    selection: Literal["last", "mean", "worst_class", "worst_group", "discovered", "counterfactual"] = content(
        "worst_class",
        description="validation figure that picks the epoch; only worst_group needs group labels; discovered "
        "takes data.groups",
    )
