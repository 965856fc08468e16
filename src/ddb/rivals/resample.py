"""ReSample: every group is drawn equally often (Japkowicz 2000; SubpopBench's ReSample, a group-balanced sampler).

Images are drawn with replacement, with probabilities proportional to 1 / size of their group. An epoch has as many
steps as one pass over the images.
"""

from __future__ import annotations

from ddb.learn.training.fit import Material
from ddb.learn.training.group_plans import balanced
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import known, train


def fit_resample(problem: Problem, settings: TrainingSettings) -> Fitted:
    plan = balanced(known(problem.train_groups), problem.fit.batch_size)
    material = Material(problem.train, validate=problem.validate(), plan=plan)
    return train(problem, problem.start(), material, settings.budget(problem.fit))


RIVAL = Rival(
    name="resample",
    title="ReSample",
    uses=frozenset({"train_groups", "val_groups"}),
    settings=TrainingSettings,
    grid=({}, {"lr_scale": 0.3}, {"weight_decay_scale": 100.0}, {"lr_scale": 0.3, "weight_decay_scale": 100.0}),
    fit=fit_resample,
)
