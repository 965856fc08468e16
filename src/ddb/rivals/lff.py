"""LfF, Learning from Failure (Nam, Cha, Ahn, Lee and Shin, NeurIPS 2020, algorithm 1; code: alinlab/LfF, train.py).

Two models are trained together. The biased model minimises the generalised cross-entropy (Zhang and Sabuncu 2018),
whose gradient is p^q times that of cross-entropy, so that easy samples dominate. The main model minimises cross-entropy
with each sample weighted by its relative difficulty W = CE_b / (CE_b + CE_d); it is the result.

Where the equation and the code differ: the code's W uses exponential moving averages of both losses (decay 0.7), each
divided by the largest of its class, and its biased loss has an additional factor q. Default: the code, which produced
the paper's figures; `decay: 0, normalise: false` is the equation, as in SubpopBench.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from ddb.learn.classifier import Classifier
from ddb.learn.seeds import seed_of
from ddb.learn.training.batches import Rows
from ddb.learn.training.fit import Figures, Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import train


class LfFSettings(TrainingSettings):
    q: float = Field(0.7, gt=0, le=1, description="of the generalised cross-entropy (paper: 0.7)")
    decay: float = Field(0.7, ge=0, lt=1, description="of the losses' moving averages (code: 0.7; 0: none)")
    normalise: bool = Field(True, description="divide the averages by the largest of the class (code)")


class Both(nn.Module):
    """Two models as one: [B, 3, S, S] -> [B, 2, K], the biased one first."""

    def __init__(self, biased: nn.Module, main: nn.Module) -> None:
        super().__init__()
        self.biased, self.main = biased, main

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.biased(images), self.main(images)], dim=1)


class RelativeDifficulty:
    """The objective for losses [B, 2] (biased, main). `state["averages"]`: moving averages of both losses, float32
    [N, 2]; `state["seen"]` uint8 [N]: 1 for images that were in a step."""

    def __init__(self, labels: Rows, q: float, decay: float, normalise: bool) -> None:
        self.labels, self.q, self.decay, self.normalise = torch.from_numpy(labels), q, decay, normalise
        self.state: dict[str, Tensor] = {
            "averages": torch.zeros(len(labels), 2),
            "seen": torch.zeros(len(labels), dtype=torch.uint8),
        }

    def weigh(self, rows: Rows, logits: Tensor, losses: Tensor) -> Tensor:
        """float [B, 2]: q p^q for the biased model, with p = exp(-CE_b), and W for the main model."""
        difficulty = self._difficulty(torch.from_numpy(rows), losses)
        return torch.stack([self.q * torch.exp(-self.q * losses[:, 0]), difficulty], dim=1)

    def _difficulty(self, rows: Tensor, losses: Tensor) -> Tensor:
        averages, seen = self.state["averages"], self.state["seen"]
        old = self.decay * seen[rows].float()[:, None]
        averages[rows] = old * averages[rows] + (1 - old) * losses
        seen[rows] = 1
        compared = averages[rows].clone()
        if self.normalise:
            for label in set(self.labels[rows].tolist()):
                compared[self.labels[rows] == label] /= averages[self.labels == label].amax(dim=0) + 1e-8
        return compared[:, 0] / (compared.sum(dim=1) + 1e-8)


def fit_lff(problem: Problem, settings: LfFSettings) -> Fitted:
    kept, biased = problem.start(), problem.start()
    _fresh_head(biased.classifier, seed_of(problem.seed, "lff", "biased"))
    pair = Both(biased.classifier.model, kept.classifier.model)
    both = replace(kept, classifier=replace(kept.classifier, model=pair))
    material = Material(
        problem.train,
        validate=_of_main(problem.validate(), kept.classifier),
        objective=RelativeDifficulty(problem.train.labels, settings.q, settings.decay, settings.normalise),
    )
    fitted = train(problem, both, material, settings.budget(problem.fit))
    return replace(fitted, classifier=kept)


def _of_main(
    validate: Callable[[Classifier], Figures] | None, main: Classifier
) -> Callable[[Classifier], Figures] | None:
    """`validate` applied to the main model alone."""
    return None if validate is None else lambda _both: validate(main)


def _fresh_head(classifier: Classifier, seed: int) -> None:
    """Initialise the last layer with another seed than the main model's, so that the two models differ."""
    torch.manual_seed(seed)
    for module in classifier.head.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()


RIVAL = Rival(
    name="lff",
    title="LfF",
    uses=frozenset({"val_groups"}),
    settings=LfFSettings,
    grid=({}, {"decay": 0.0, "normalise": False}, {"lr_scale": 0.3}, {"q": 0.4}),
    fit=fit_lff,
)
