"""Mixup (Zhang, Cisse, Dauphin and Lopez-Paz, ICLR 2018): every image and its label are blended with another image of
the batch and its label.

One share per batch is drawn from Beta(alpha, alpha), as in the paper's and SubpopBench's code. The mean of the
cross-entropies of both labels, weighted by the share, equals the cross-entropy of the blended label.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from ddb.learn.training.batches import Batch, Plan, numpy_generator, passes
from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import train


class MixupSettings(TrainingSettings):
    alpha: float = Field(0.2, gt=0, description="of Beta(alpha, alpha), the share's distribution (SubpopBench: 0.2)")


def blended(count: int, batch_size: int, alpha: float) -> Plan:
    """A plan of all `count` images in random order; each batch is blended with a permutation of itself."""

    def plan(generator: torch.Generator, _classifier: object) -> list[Batch]:
        batches = passes(np.arange(count), batch_size, generator)
        rng = numpy_generator(generator)
        return [
            replace(
                batch,
                partners=batch.rows[rng.permutation(len(batch.rows))],
                share=np.full(len(batch.rows), rng.beta(alpha, alpha), np.float32),
            )
            for batch in batches
        ]

    return plan


def fit_mixup(problem: Problem, settings: MixupSettings) -> Fitted:
    plan = blended(len(problem.train.labels), problem.fit.batch_size, settings.alpha)
    material = Material(problem.train, validate=problem.validate(), plan=plan)
    return train(problem, problem.start(), material, settings.budget(problem.fit))


RIVAL = Rival(
    name="mixup",
    title="Mixup",
    uses=frozenset({"val_groups"}),
    settings=MixupSettings,
    grid=({}, {"alpha": 1.0}, {"lr_scale": 0.3}, {"weight_decay_scale": 100.0}),
    fit=fit_mixup,
)
