"""GroupDRO (Sagawa, Koh, Hashimoto and Liang, ICLR 2020, algorithm 1; code: kohpangwei/group_DRO, loss.py).

Each step: q_g <- q_g exp(eta (L_g + C / sqrt(n_g))), normalised, then the loss is sum_g q_g L_g, with L_g the mean loss
of the batch's images of group g (0 where it has none). q is uniform at first. Batches are drawn group-balanced.

The commands in the repository's README regularise weakly; the paper's best runs use strong weight decay (Waterbirds lr
1e-5, weight decay 1; CelebA lr 1e-5, weight decay 0.1) or early stopping. Here the epoch is selected, and the search
tries 100 times the shared weight decay. The greedy variant (--btl) is not implemented.
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from ddb.learn.training.fit import Material
from ddb.learn.training.group_dro import GroupDRO
from ddb.learn.training.group_plans import balanced
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import known, train


class GroupDROSettings(TrainingSettings):
    step_size: float = Field(0.01, gt=0, description="eta, rate of the groups' weights (robust_step_size 0.01)")
    adjustment: float = Field(
        0.0, ge=0, description="C, grows the loss of small groups by C / sqrt(n) (README: 0; the paper tunes it)"
    )
    balanced_batches: bool = Field(True, description="draw all groups equally often (--reweight_groups: on)")


def fit_group_dro(problem: Problem, settings: GroupDROSettings) -> Fitted:
    groups, size = known(problem.train_groups), problem.fit.batch_size
    objective = GroupDRO(groups, settings.step_size, settings.adjustment)
    material = Material(
        problem.train,
        validate=problem.validate(),
        plan=balanced(groups, size) if settings.balanced_batches else None,
        objective=objective,
    )
    fitted = train(problem, problem.start(), material, settings.budget(problem.fit))
    return replace(fitted, facts={**fitted.facts, "largest_q": float(objective.state["q"].max())})


RIVAL = Rival(
    name="group_dro",
    title="GroupDRO",
    uses=frozenset({"train_groups", "val_groups"}),
    settings=GroupDROSettings,
    grid=({}, {"adjustment": 2.0}, {"weight_decay_scale": 100.0}, {"lr_scale": 0.3, "weight_decay_scale": 100.0}),
    fit=fit_group_dro,
)
