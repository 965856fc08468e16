"""The training curves of the two classifiers, from the histories that their stages keep."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ddb.report.reading import Run

TITLES = {"erm": "Plain classifier", "retrain": "Retrained classifier"}


@dataclass(frozen=True)
class Fit:
    """A training. `losses` and `figures` (of epoch selection; empty where the rule has none) by epoch; `kept`: the
    epoch whose weights are kept, from 1; `rule`: value of `selection`."""

    title: str
    losses: list[float]
    figures: list[float]
    kept: int
    rule: str


def fits(run: Run) -> list[Fit]:
    """The trainings of this run. A classifier that was given, not trained, has none."""
    found = []
    for stage, title in TITLES.items():
        history = run.json("fit.json", stage)
        epochs = history.get("epochs") or []
        if not epochs or not all(math.isfinite(epoch["loss"]) for epoch in epochs):
            continue
        figures = [float(epoch["figures"][0]) for epoch in epochs if epoch.get("figures")]
        figures = figures if len(figures) == len(epochs) else []
        losses = [float(epoch["loss"]) for epoch in epochs]
        found.append(Fit(title, losses, figures, int(history["kept"]), str(history["selection"])))
    return found
