"""ReSample: every group is drawn equally often (Japkowicz 2000; SubpopBench's ReSample, a group-balanced sampler).

Images are drawn with replacement, with probabilities proportional to 1 / size of their group. An epoch has as many
steps as one pass over the images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.learn.training.batches import Plan, drawn
from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Groups, Problem, Rival, TrainingSettings
from ddb.rivals.training import known, train


def balanced(groups: Groups, batch_size: int) -> Plan:
    """A plan that draws each group of `groups` int64 [N] with equal probability."""
    weights = balancing_weights(groups)
    return lambda generator, _classifier: drawn(weights, batch_size, generator)


def balancing_weights(groups: Groups) -> npt.NDArray[np.float64]:
    """float64 [N]: N / size of the image's group, as in GroupDRO's sampler (group_DRO, data/dro_dataset.py)."""
    _, inside, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights: npt.NDArray[np.float64] = (len(groups) / sizes)[inside]
    return weights


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
