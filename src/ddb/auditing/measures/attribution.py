"""Attribution inside and outside the object's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddb.auditing.figures import Figure, mean
from ddb.auditing.images import Scene
from ddb.auditing.predictors import Maps, Predictor
from ddb.learn.attribution import share_outside

BATCH = 32


@dataclass(frozen=True)
class Attribution:
    """`inside`: mean share of |attribution| inside the mask, for the image's class; `area`: mean share of the pixels
    inside the mask, which a classifier that looks at everything alike would have. `method`: how it was computed."""

    inside: Figure
    area: float
    method: str


def attributions(predictor: Predictor, scenes: Sequence[Scene]) -> Maps:
    """float32 [N, S, S], N > 0, for the class of each image."""
    found = []
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        labels = np.array([scene.label for scene in part])
        found.append(predictor.attributions(np.stack([scene.pixels for scene in part]), labels))
    return np.concatenate(found)


def attribution(scenes: Sequence[Scene], maps: Maps, method: str) -> Attribution | None:
    """The shares of `maps` [N, S, S]; None where there is no image. An image without any attribution is left out."""
    some = [row for row in range(len(scenes)) if np.abs(maps[row]).sum() > 0]
    if not some:
        return None
    masks = np.stack([scenes[row].mask for row in some])
    inside = mean(1 - share_outside(maps[some], masks))
    assert inside is not None, "at least one image"
    return Attribution(inside, float(masks.mean()), method)
