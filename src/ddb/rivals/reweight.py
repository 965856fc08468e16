"""ReWeight: every loss is divided by the size of its group (inverse-frequency weighting; SubpopBench, Yang et al., ICML
2023, learning/algorithms.py).

The scale of the weights acts like a factor of the learning rate. Default: mean 1 over the training images, so that the
loss is the mean of the groups' mean losses, on the scale of ERM's loss. SubpopBench scales to mean 1 over the groups
(`scale: groups`), which makes the loss on Waterbirds seven times smaller.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Groups, Problem, Rival, TrainingSettings
from ddb.rivals.training import known, train


class ReWeightSettings(TrainingSettings):
    scale: Literal["images", "groups"] = Field(
        "images", description="the weights' mean is 1 over the training images (ours), or over groups (SubpopBench)"
    )


def group_weights(groups: Groups, scale: Literal["images", "groups"]) -> npt.NDArray[np.float32]:
    """float32 [N], proportional to 1 / size of the image's group; `groups` int64 [N]."""
    _, inside, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / sizes.astype(np.float64)
    mean = len(sizes) / len(groups) if scale == "images" else weights.mean()
    return (weights / mean)[inside].astype(np.float32)


def fit_reweight(problem: Problem, settings: ReWeightSettings) -> Fitted:
    weighted = replace(problem.train, weights=group_weights(known(problem.train_groups), settings.scale))
    material = Material(weighted, validate=problem.validate())
    return train(problem, problem.start(), material, settings.budget(problem.fit))


RIVAL = Rival(
    name="reweight",
    title="ReWeight",
    uses=frozenset({"train_groups", "val_groups"}),
    settings=ReWeightSettings,
    grid=({}, {"lr_scale": 0.3}, {"weight_decay_scale": 100.0}, {"lr_scale": 0.3, "weight_decay_scale": 100.0}),
    fit=fit_reweight,
)
