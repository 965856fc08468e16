"""Diverse Prototypical Ensembles (To et al., ICML 2025; code: minhto2802/dpe4subpop, on PyPI as dpe 0.2.0, MIT).

The backbone of the ERM model is frozen. On its features, each row standardised, heads of one prototype a class are
trained one after another on balanced random subsets of the validation images: cross-entropy of -entropic x distance,
plus `pull` x mean squared norm of the prototypes, plus a penalty on the covariance with the prototypes of earlier heads
(inter-prototype similarity), which decreases with their number. Of each head the epoch with the best figures on the
validation images is kept. Predictions are the mean of the heads' softmaxes.

As in the code, the penalty is the absolute value of the mean over classes of summed covariances, where the paper sums
absolute values; predictions have no entropic factor. `dpe_ddb` is ours: the same heads on training images and ddb's
counterfactuals, balanced by their known cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.learn import predict
from ddb.learn.predict import Floats
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import Figures
from ddb.rivals import Fitted, Groups, Problem, Rival, Settings
from ddb.rivals.dfr_regression import balanced_rows
from ddb.rivals.last_layer import features_of, head_figures
from ddb.rivals.prototypes import PrototypeEnsemble, Prototypes, distances, put_ensemble, standardised
from ddb.rivals.training import known

INITIAL = 1e-2
"""Standard deviation of the first prototypes (code: IsoMaxPlusLossFirstPart)."""


class HeadSettings(Settings):
    heads: int = Field(15, ge=1, description="prototype heads (code: num_stages 15)")
    epochs: int = Field(20, ge=1, description="epochs a head (code: 20)")
    batch_size: int = Field(256, ge=1, description="images in a step (code: 256; incomplete batches are dropped)")
    rate: float = Field(1e-3, gt=0, description="learning rate of SGD with momentum 0.9 (code: 1e-3)")
    entropic: float = Field(30.0, gt=0, description="factor of distances in the training loss (code: 30)")
    pull: float = Field(10.0, ge=0, description="weight of the prototypes' mean squared norm (code: wd_weight 10)")
    diversity: float = Field(5e4, ge=0, description="weight of the covariance penalty (code: cov_reg 5e4)")
    decay: float = Field(0.05, ge=0, description="decrease of that weight: 1 / (1 + decay x heads) (code: alpha 0.05)")


class DpeSettings(HeadSettings):
    balance: Literal["class", "group"] = Field(
        "class", description="what the random subsets are balanced by (code: train_attr, off)"
    )


class DpeDdbSettings(HeadSettings):
    epochs: int = Field(5, ge=1, description="epochs a head; there are more images than in DPE's validation set")


def fit_dpe(problem: Problem, settings: DpeSettings) -> Fitted:
    """The ERM backbone with an ensemble of prototype heads, trained on the validation images."""
    labels = problem.val.labels
    cells = labels if settings.balance == "class" else known(problem.val_groups)
    loaded = problem.erm()
    return _fitted(problem, settings, loaded, Balanced(features_of(problem, loaded.classifier, "val"), labels, cells))


def fit_dpe_ddb(problem: Problem, settings: DpeDdbSettings) -> Fitted:
    """The same, trained on training images and counterfactuals, balanced by (class, class of the source); a training
    image counts as (class, class)."""
    made, train, loaded = problem.counterfactuals, problem.train, problem.erm()
    assert made is not None, "declared in `uses`"
    painted = predict.features(loaded.classifier, made.images.pixels, problem.runtime.exact(), problem.batch)
    seen = np.concatenate([features_of(problem, loaded.classifier, "train"), painted])
    labels = np.concatenate([train.labels, made.images.labels])
    origin = np.concatenate([train.labels, made.from_labels])
    return _fitted(problem, settings, loaded, Balanced(seen, labels, labels * len(problem.classes) + origin))


@dataclass(frozen=True)
class Balanced:
    """`features` float32 [N, D] with `labels` int64 [N]; subsets have as many rows of each of the `cells` int64 [N]."""

    features: Floats
    labels: Groups
    cells: Groups


def _fitted(problem: Problem, settings: HeadSettings, loaded: LoadedClassifier, images: Balanced) -> Fitted:
    rng = np.random.default_rng(seed_of(problem.seed, "dpe"))
    torch.manual_seed(seed_of(problem.seed, "dpe", "prototypes"))
    figures, features = head_figures(problem, loaded.classifier), standardised(torch.from_numpy(images.features))
    numbered = np.unique(images.cells, return_inverse=True)[1]
    heads: list[Prototypes] = []
    for number in range(settings.heads):
        rows = balanced_rows(numbered, rng)
        strength = settings.diversity / (1 + settings.decay * max(number - 1, 0))
        own = settings.model_copy(update={"diversity": strength})
        heads.append(train_head(features[rows], torch.from_numpy(images.labels[rows]), heads, own, figures))
    ensemble = PrototypeEnsemble(heads)
    found = figures(ensemble)
    return Fitted(replace(loaded, classifier=put_ensemble(loaded.classifier, ensemble)), found, {"heads": len(heads)})


def train_head(
    features: Tensor,
    labels: Tensor,
    earlier: Sequence[Prototypes],
    settings: HeadSettings,
    figures: Callable[[PrototypeEnsemble], Figures],
) -> Prototypes:
    """A head trained on standardised features [N, D] with `labels` [N]: the epoch with the best figures, the last of
    equals. Draws from torch's global generator."""
    classes, width = int(labels.max()) + 1, features.shape[1]
    points = torch.nn.Parameter(torch.randn(classes, width) * INITIAL)
    scale = torch.nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([points, scale], lr=settings.rate, momentum=0.9)
    others = torch.stack([head.points for head in earlier], dim=1) if earlier else None
    size = min(settings.batch_size, len(labels))
    kept, best = _copy(points, scale), tuple[float, ...]()
    for _ in range(settings.epochs):
        order = torch.randperm(len(labels))
        for start in range(0, len(labels) - size + 1, size):
            rows = order[start : start + size]
            optimiser.zero_grad(set_to_none=True)
            outputs = -scale.abs() * distances(features[rows], points)
            loss = F.cross_entropy(settings.entropic * outputs, labels[rows])
            torch.autograd.backward(loss + penalty(points, others, settings))
            optimiser.step()
        head = _copy(points, scale)
        found = figures(PrototypeEnsemble([head]))
        if found >= best:
            kept, best = head, found
    return kept


def _copy(points: Tensor, scale: Tensor) -> Prototypes:
    return Prototypes(points.detach().clone(), float(scale.detach()))


def penalty(points: Tensor, others: Tensor | None, settings: HeadSettings) -> Tensor:
    """`pull` x mean squared norm of the prototypes [K, D], plus `diversity` x the covariance with `others` [K, M, D],
    the prototypes of earlier heads."""
    total = settings.pull * (points**2).sum(dim=1).mean()
    if others is None:
        return total
    covariances = torch.einsum("kd,kmd->km", points, others) / (points.shape[1] - 1)
    return total + settings.diversity * (covariances.sum(dim=1) / (1 + others.shape[1])).mean().abs()


VAL = Rival(
    name="dpe",
    title="DPE",
    uses=frozenset({"val_groups", "val_groups_train"}),
    settings=DpeSettings,
    grid=({}, {"balance": "group"}, {"rate": 1e-2}, {"balance": "group", "diversity": 5e5}),
    fit=fit_dpe,
)
DDB = Rival(
    name="dpe_ddb",
    title="DPE on ddb's cells",
    uses=frozenset({"val_groups", "counterfactuals"}),
    settings=DpeDdbSettings,
    grid=({}, {"rate": 1e-2}, {"diversity": 5e5}, {"rate": 1e-2, "diversity": 5e5}),
    fit=fit_dpe_ddb,
)
