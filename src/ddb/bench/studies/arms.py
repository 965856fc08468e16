"""Studies of ddb alone, with the preset's settings and no search: pruning heads (table 2), number of representatives of
a token (table 3), number of counterfactuals. Each arm is a run folder that shares finished stages with the seed's
run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ddb import pipeline
from ddb.backends.classifiers.timm_classifier import LoadedClassifier, load_classifier
from ddb.bench.fits.trial import Trial
from ddb.bench.fits.variants import run_stages, take_over, upto
from ddb.bench.folder import Folder, Key, Record, fingerprint
from ddb.bench.scores import score
from ddb.bench.studies import counts
from ddb.bench.studies.oracle import answers_of
from ddb.config import RunConfig
from ddb.config.marks import deciding
from ddb.data.counterfactuals import Counterfactuals, Rows
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.stage import Stage

PRUNING = "pruning"
INVERSION = "inversion"
COUNTS = "counts"
STUDIES = {"2": PRUNING, "3": INVERSION, "counts": COUNTS}
HEADS: dict[str, Mapping[str, str]] = {
    "none": {"psi": "off", "rho": "off"},
    "psi": {"rho": "off"},
    "rho": {"psi": "off"},
    "both": {},
}
REPRESENTATIVES = (0, 10, 20, 30, 40)


@dataclass(frozen=True)
class Arm:
    """One setting of a study. `run` computes its run folder up to retraining and returns it; `config` and `more`
    (values that are not settings) identify its record."""

    study: str
    name: str
    config: RunConfig
    run: Callable[[], Path]
    more: float | None = None


@dataclass(frozen=True)
class Studies:
    """The studies of one seed. `oracle` None: the quality of counterfactuals is not known."""

    folder: Folder
    trial: Trial
    oracle: LoadedClassifier | None
    progress: Progress
    report: Callable[[Record, float], None]

    def records(self, study: str) -> list[Record]:
        """A record for every arm; missing ones are computed."""
        return [self._record(arm) for arm in self._arms(study)]

    def _record(self, arm: Arm) -> Record:
        trial = self.trial
        config = deciding(arm.config)
        key = Key(
            "scores",
            trial.number,
            f"{arm.study}-{arm.name}",
            fingerprint([arm.study, config, arm.more, trial.made_from("prune")]),
        )
        if (found := self.folder.read(key)) is not None:
            return found
        started = time.monotonic()
        run = arm.run()
        workspace = Workspace(run, pipeline.STAGES)
        summary = json.loads((workspace.folder("prune") / "summary.json").read_text())
        record = {
            "study": arm.study,
            "arm": arm.name,
            "seed": trial.config.seed,
            "directions": [row | self._quality(workspace, row, arm.study == COUNTS) for row in summary],
            "test": score(trial, load_classifier(workspace.folder("retrain") / "classifier")),
        }
        found = self.folder.write(key, record)
        self.report(found, time.monotonic() - started)
        return found

    def _quality(self, workspace: Workspace, direction: Mapping[str, Any], of_a_part: bool) -> dict[str, float | None]:
        """Shares of a direction's candidates that the oracle classifies as the painted class, before and after pruning.
        `of_a_part`: candidates over budget do not count as painted."""
        found = Counterfactuals(workspace, self.trial.dataset)
        verdicts = workspace.table("prune", ["id", "keep", "reason"]).to_pylist()
        own = (found.from_labels == direction["from_label"]) & (found.to_labels == direction["to_label"])
        left_out = {row["id"] for row in verdicts if of_a_part and row["reason"] == "over_budget"}
        judged = {row["id"] for row in verdicts} - left_out
        painted = own & np.array([name in judged for name in found.ids], bool)
        return {
            "oracle_before": self._share_right(found, np.flatnonzero(painted)),
            "oracle_after": self._share_right(found, np.flatnonzero(own & found.kept)),
        }

    def _share_right(self, found: Counterfactuals, rows: Rows) -> float | None:
        if self.oracle is None or not len(rows):
            return None
        square = self.oracle.card.preprocessing.square
        images = np.stack(list(found.each(rows, lambda one: square(one.image))))
        answers = answers_of(self.oracle, images, self.trial.runtime)
        return float((answers == found.to_labels[rows]).mean())

    def _arms(self, study: str) -> Sequence[Arm]:
        return {PRUNING: self._pruning, INVERSION: self._inversion, COUNTS: self._counts}[study]()

    def _pruning(self) -> list[Arm]:
        arms = []
        for name, changes in HEADS.items():
            config = changed(self.trial.config, "prune", changes)
            arms.append(Arm(PRUNING, name, config, partial(self._late, f"pruning-{name}", config)))
        return arms

    def _inversion(self) -> list[Arm]:
        arms = []
        for number in REPRESENTATIVES:
            config = changed(self.trial.config, "invert", {"representatives": number})
            arms.append(Arm(INVERSION, str(number), config, partial(self._early, f"inversion-{number}", config)))
        return arms

    def _counts(self) -> list[Arm]:
        config = counts.pool_config(self.trial.config)
        return [
            Arm(COUNTS, f"{amount:g}", config, partial(self._part, config, amount), amount) for amount in counts.AMOUNTS
        ]

    def _late(self, name: str, config: RunConfig) -> Path:
        """Prune and retrain on the run's own candidates."""
        folder = self.trial.run
        if config != self.trial.config:
            folder = take_over(self.trial.run, self._home(name), upto("score"))
        run_stages(self.trial, config, folder, ("prune", "retrain"), self.progress)
        return folder

    def _early(self, name: str, config: RunConfig) -> Path:
        """A run that shares only the ERM model and the masks."""
        if config == self.trial.config:
            return pipeline.run(config, self.trial.run, until="retrain", progress=self.progress)
        folder = take_over(self.trial.run, self._home(name), ("erm", "segment"))
        return pipeline.run(config, folder, until="retrain", progress=self.progress)

    def _part(self, config: RunConfig, amount: float) -> Path:
        """Prune a part of the pool and retrain on it."""
        folder = take_over(self._pool, self._home(f"counts-{amount:g}"), upto("score"))

        classes = len(self.trial.dataset.classes)

        def change(stages: list[Stage]) -> list[Stage]:
            part = partial(counts.pruned_part, settings=config.prune, classes=classes, amount=amount)
            return [part(stage) if stage.name == "prune" else stage for stage in self._pooled(stages)]

        run_stages(self.trial, config, folder, ("prune", "retrain"), self.progress, change)
        return folder

    @cached_property
    def _pool(self) -> Path:
        """The run folder with the scored candidates of the largest amount, which contain those of all others."""
        config = counts.pool_config(self.trial.config)
        folder = take_over(self.trial.run, self._home("counts-pool"), ("erm", "invert"))
        run_stages(
            self.trial,
            config,
            folder,
            ("segment", "inpaint", "score"),
            self.progress,
            self._pooled,
        )
        return folder

    def _pooled(self, stages: list[Stage]) -> list[Stage]:
        """The stages, with stage inpaint replaced by that of the pool."""
        return [counts.pool_stage(stage, self.trial) if stage.name == "inpaint" else stage for stage in stages]

    def _home(self, name: str) -> Path:
        return self.trial.folder / "variants" / name


def changed(config: RunConfig, section: str, values: Mapping[str, Any]) -> RunConfig:
    """The settings with other values in one section."""
    tree = config.model_dump()
    tree[section] |= values
    return RunConfig.model_validate(tree)
