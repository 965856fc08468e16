"""Training of a rival: one call of `learn.training.fit` per phase."""

from __future__ import annotations

from collections.abc import Mapping

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.config import FitConfig
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import Material, fit
from ddb.rivals import Fitted, Groups, Problem


def train(
    problem: Problem,
    loaded: LoadedClassifier,
    material: Material,
    budget: FitConfig,
    phase: str = "training",
    facts: Mapping[str, float | int | str] | None = None,
) -> Fitted:
    """Train `loaded` in place. The checkpoint is in the problem's folder under the phase's name; a finished phase is
    loaded from it, an interrupted one resumed."""
    budget = budget.model_copy(update={"selection": problem.selection})
    folder, seed = problem.folder / phase, seed_of(problem.seed, "rival", phase)
    progress = fit(loaded.classifier, material, budget, problem.runtime, seed, folder)
    return Fitted(loaded, progress.figures, {"epoch": progress.kept, **(facts or {})})


def known(groups: Groups | None) -> Groups:
    """`groups`, which are not None where the rival declares them (`fit_rival` checks it)."""
    assert groups is not None, "declare the groups in `uses`"
    return groups
