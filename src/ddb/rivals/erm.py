"""ERM, empirical risk minimisation: minimises the mean cross-entropy of the training images (method section 1).

With the shared learning rate and weight decay it is the shared ERM model. Published ERM figures differ by learning
rate, weight decay and the chosen checkpoint (Sagawa et al., ICLR 2020, section 3), so the search tries stronger weight
decay and a lower learning rate.
"""

from __future__ import annotations

from ddb.learn.training.fit import Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import train


def fit_erm(problem: Problem, settings: TrainingSettings) -> Fitted:
    """The shared ERM model for the default settings, else a pretrained model trained with `settings`."""
    validate = problem.validate()
    if settings == TrainingSettings():
        shared = problem.erm()
        return Fitted(shared, validate(shared.classifier) if validate else (), {"shared": 1})
    material = Material(problem.train, validate=validate)
    return train(problem, problem.start(), material, settings.budget(problem.fit))


RIVAL = Rival(
    name="erm",
    title="ERM",
    uses=frozenset({"val_groups"}),
    settings=TrainingSettings,
    grid=({}, {"lr_scale": 0.3}, {"weight_decay_scale": 100.0}, {"lr_scale": 0.3, "weight_decay_scale": 100.0}),
    fit=fit_erm,
)
