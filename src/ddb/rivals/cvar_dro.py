"""CVaR-DRO: the mean of the highest losses of each batch (Levy, Carmon, Duchi and Sidford, NeurIPS 2020; SubpopBench's
CVaRDRO with their RobustLoss of geometry "cvar").

In a batch of B losses the highest alpha B have weight; where alpha B is no integer, the next loss has the fraction.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from ddb.learn.training.batches import Rows
from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import train


class CVaRSettings(TrainingSettings):
    alpha: float = Field(
        0.1, gt=0, le=1, description="share of the batch that counts (SubpopBench: 0.1, searched in 0.01-1)"
    )


class CVaR:
    """The objective (`learn.training.material.Objective`); it has no state."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.state: dict[str, Tensor] = {}

    def weigh(self, rows: Rows, logits: Tensor, losses: Tensor) -> Tensor:
        """float [B]: 1 / alpha for the highest floor(alpha B) losses, the fraction of it for the next, 0 for the
        others."""
        order = torch.argsort(losses, descending=True, stable=True)
        left = self.alpha * len(losses) - torch.arange(len(losses), dtype=torch.float64)
        weights = torch.empty(len(losses), dtype=losses.dtype)
        weights[order] = (left.clamp(0, 1) / self.alpha).to(losses.dtype)
        return weights


def fit_cvar_dro(problem: Problem, settings: CVaRSettings) -> Fitted:
    material = Material(problem.train, validate=problem.validate(), objective=CVaR(settings.alpha))
    return train(problem, problem.start(), material, settings.budget(problem.fit))


RIVAL = Rival(
    name="cvar_dro",
    title="CVaR-DRO",
    uses=frozenset({"val_groups"}),
    settings=CVaRSettings,
    grid=({}, {"alpha": 0.03}, {"alpha": 0.3}, {"alpha": 0.1, "lr_scale": 0.3}),
    fit=fit_cvar_dro,
)
