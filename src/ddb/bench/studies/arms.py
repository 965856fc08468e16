"""Studies of ddb alone, with the preset's settings and no search: pruning heads (table 2), images to learn a token from
(table 3), number of counterfactuals. Each arm is a run folder that shares what it can with the seed's run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ddb import pipeline
from ddb.backends.classifiers.timm_classifier import LoadedClassifier, load_classifier
from ddb.bench.fits.trial import Trial, decoded
from ddb.bench.fits.variants import run_stages, take_over, upto
from ddb.bench.folder import Folder, Key, Record, fingerprint
from ddb.bench.scores import score
from ddb.bench.studies import counts
from ddb.bench.studies.judge import answers_of
from ddb.config import RunConfig
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
    """One column of a study. `run` brings its run folder to retraining and returns it; `config` decides its rows, with
    `more` that is not in the settings."""

    study: str
    name: str
    config: RunConfig
    run: Callable[[], Path]
    more: float | None = None


@dataclass(frozen=True)
class Studies:
    """The studies of one seed. `judge` None: no oracle quality."""

    folder: Folder
    trial: Trial
    judge: LoadedClassifier | None
    progress: Progress
    told: Callable[[Record, float], None]

    def records(self, study: str) -> list[Record]:
        """A record for every arm, made now where it is not there."""
        return [self._record(arm) for arm in self._arms(study)]

    def _record(self, arm: Arm) -> Record:
        trial = self.trial
        config = arm.config.model_dump(mode="json", exclude={"name", "device", "evaluate"})
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
        self.told(found, time.monotonic() - started)
        return found

    def _quality(self, workspace: Workspace, direction: Mapping[str, Any], of_a_part: bool) -> dict[str, float | None]:
        """Shares of a direction's candidates that show what they should, before and after pruning. `of_a_part`: what
        is over budget does not count as painted."""
        verdicts, candidates = workspace.table("prune"), workspace.table("inpaint")
        painted = verdicts.filter(pc.not_equal(verdicts["reason"], "over_budget")) if of_a_part else verdicts
        shares = {}
        for name, rows in (("oracle_before", painted), ("oracle_after", verdicts.filter(verdicts["keep"]))):
            own = candidates.filter(pc.is_in(candidates["id"], rows["id"].combine_chunks()))
            for side in ("from_label", "to_label"):
                own = own.filter(pc.equal(own[side], direction[side]))
            shares[name] = self._share_right(own)
        return shares

    def _share_right(self, candidates: pa.Table) -> float | None:
        if self.judge is None or not len(candidates):
            return None
        found = answers_of(self.judge, decoded(candidates, self.judge.card.preprocessing), self.trial.runtime)
        return float((found == candidates["to_label"].to_numpy()).mean())

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
        """A run of its own, but for the ERM model and the masks."""
        if config == self.trial.config:
            return pipeline.run(config, self.trial.run, until="retrain", progress=self.progress)
        folder = take_over(self.trial.run, self._home(name), ("erm", "segment"))
        return pipeline.run(config, folder, until="retrain", progress=self.progress)

    def _part(self, config: RunConfig, amount: float) -> Path:
        """Prune a part of the pool and retrain on it."""
        folder = take_over(self._pool, self._home(f"counts-{amount:g}"), upto("score"))

        def change(stages: dict[str, Stage]) -> dict[str, Stage]:
            return stages | {
                "prune": counts.pruned_part(stages["prune"], config.prune, len(self.trial.dataset.classes), amount)
            }

        run_stages(self.trial, config, folder, ("prune", "retrain"), self.progress, change)
        return folder

    @cached_property
    def _pool(self) -> Path:
        """The run folder with all candidates that any amount asks for, scored."""
        config = counts.pool_config(self.trial.config)
        folder = take_over(self.trial.run, self._home("counts-pool"), ("erm", "invert"))
        run_stages(
            self.trial,
            config,
            folder,
            ("segment", "inpaint", "score"),
            self.progress,
            lambda stages: stages | {"inpaint": counts.pool_stage(stages["inpaint"], self.trial)},
        )
        return folder

    def _home(self, name: str) -> Path:
        return self.trial.folder / "variants" / name


def changed(config: RunConfig, section: str, values: Mapping[str, Any]) -> RunConfig:
    """The settings with other values in one section."""
    tree = config.model_dump()
    tree[section] |= values
    return RunConfig.model_validate(tree)
