"""ERM, empirical risk minimisation: the mean cross-entropy of the training images, nothing else (method section 1).

With the shared learning rate and weight decay it is the shared ERM model itself. The spread between published ERM
figures comes from learning rate, weight decay and the checkpoint taken (Sagawa et al., ICLR 2020, section 3), so the
search tries stronger regularisation and a lower rate.
"""

from __future__ import annotations

from ddb.learn.fit import Material
from ddb.rivals import Fitted, Problem, Rival, TrainingSettings
from ddb.rivals.training import train


def fit_erm(problem: Problem, settings: TrainingSettings) -> Fitted:
    """The shared model for the default settings, else one trained with them from the pretrained weights."""
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
