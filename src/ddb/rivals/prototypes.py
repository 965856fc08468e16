"""Prototype heads: distances of features to one prototype a class, and the mean of several such heads (DPE; the
distances are those of IsoMax+, Macêdo and Ludermir 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddb.learn.classifier import Classifier


@dataclass(frozen=True)
class Prototypes:
    """A head: `points` float32 [K, D], one a class; `scale`: factor of the distances."""

    points: Tensor
    scale: float


def standardised(features: Tensor) -> Tensor:
    """Each row of [N, D] minus its mean, divided by its standard deviation (population), as DPE's `norm_emb`."""
    deviation = features.std(dim=1, correction=0, keepdim=True)
    return (features - features.mean(dim=1, keepdim=True)) / deviation.clamp_min(torch.finfo(features.dtype).tiny)


def distances(features: Tensor, points: Tensor) -> Tensor:
    """Euclidean distances [N, K] between unit vectors of the features [N, D] and of the points [K, D]."""
    return torch.cdist(F.normalize(features), F.normalize(points), compute_mode="donot_use_mm_for_euclid_dist")


class PrototypeEnsemble(nn.Module):
    """The last layer of a DPE classifier: float [N, D] features -> log of the mean over heads of
    softmax(-|scale| distances), [N, K]; its softmax is that mean."""

    def __init__(self, heads: Sequence[Prototypes]) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.stack([head.points for head in heads]))
        self.scales = nn.Parameter(torch.tensor([head.scale for head in heads]))

    def forward(self, features: Tensor) -> Tensor:
        own = standardised(features.float())
        pairs = zip(self.scales, self.points, strict=True)
        outputs = torch.stack([-scale.abs() * distances(own, points) for scale, points in pairs])
        mean: Tensor = outputs.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(outputs))
        return mean

    @torch.no_grad()
    def logits(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """[N, D] -> [N, K]"""
        return self(torch.from_numpy(features.astype(np.float32, copy=False))).double().numpy()  # type: ignore[no-any-return]


def put_ensemble(classifier: Classifier, ensemble: PrototypeEnsemble) -> Classifier:
    """The classifier with the ensemble as its last layer, replaced in its model."""
    name = next(name for name, module in classifier.model.named_modules() if module is classifier.head)
    classifier.model.set_submodule(name, ensemble)
    return Classifier(classifier.model, ensemble, classifier.preprocessing)
