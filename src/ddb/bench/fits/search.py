"""One fit of one method with one setting at one seed, and the search over a method's settings.

The input of a fit is the trial's `Problem`, or for ddb its run folder up to retraining: training and validation images.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddb.backends.classifiers.timm_classifier import CARD, LoadedClassifier, load_classifier, save_classifier
from ddb.bench.fits.choice import best
from ddb.bench.fits.methods import DdbSettings, Method
from ddb.bench.fits.trial import Trial
from ddb.bench.fits.variants import run_stages, take_over, upto
from ddb.bench.folder import Folder, Key, Record, fingerprint
from ddb.bench.options import DDB
from ddb.config.marks import content_of
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.errors import StageFailed
from ddb.learn.training.fit import Figures
from ddb.pipeline import STAGES
from ddb.rivals import RIVALS, Settings, TrainingSettings, fit_rival


@dataclass(frozen=True)
class Fits:
    """The fits of one seed. `report` is called after each with its record and the seconds that it took."""

    folder: Folder
    trial: Trial
    progress: Progress
    report: Callable[[Record, float], None]

    def search(self, method: Method, settings: list[Mapping[str, Any]]) -> tuple[Record, Mapping[str, Any]]:
        """Fit every setting and return the chosen fit's record and setting; weights of the others are removed."""
        records = [self.fit(method, values) for values in settings]
        chosen = best(records)
        for values, record in zip(settings, records, strict=True):
            if record is not records[chosen] and method.name != DDB:  # ddb's run folders stay whole: studies use them
                shutil.rmtree(self.classifier_folder(method, values), ignore_errors=True)
        shutil.rmtree(self._work(method), ignore_errors=True)
        return records[chosen], settings[chosen]

    def fit(self, method: Method, values: Mapping[str, Any]) -> Record:
        """The record of a fit, which is run if there is none. A fit whose loss was not finite has no figures."""
        key = self.key(method, values)
        if (found := self.folder.read(key)) is not None:
            return found
        started = time.monotonic()
        record: Record = {"method": method.name, "title": method.title, "setting": dict(values)}
        record |= {"seed": self.trial.config.seed, "selection": self.trial.select, "error": "", "facts": {}}
        try:
            figures, facts = self._fitted(method, values)
            record |= {"figures": list(figures), "facts": facts}
        except StageFailed as error:
            record |= {"figures": [], "error": str(error)}
        found = self.folder.write(key, record)
        self.report(found, time.monotonic() - started)
        return found

    def classifier(self, method: Method, values: Mapping[str, Any]) -> LoadedClassifier:
        """The classifier of a finished fit."""
        return load_classifier(self.classifier_folder(method, values))

    def classifier_folder(self, method: Method, values: Mapping[str, Any]) -> Path:
        if method.name == DDB:
            return _classifier(self._run_folder(_checked(method, values)))
        key = self.key(method, values)
        return self.folder.path(key).with_suffix("")

    def key(self, method: Method, values: Mapping[str, Any]) -> Key:
        """The key of the fit's record: a fingerprint of everything that its figures depend on."""
        trial, settings = self.trial, _checked(method, values)
        paints = method.needs_images or trial.select == "counterfactual"
        made_from: Record = {
            "method": method.name,
            "settings": settings.model_dump(mode="json"),
            "seed": trial.config.seed,
            "select": trial.select,
            "fit": content_of(trial.config, "erm"),  # rivals train with its budget
            "retrain": content_of(trial.config, "retrain") if method.name == DDB else {},
            "erm": trial.made_from("erm"),
            "images": trial.made_from("prune") if paints else "",
        }
        return Key("fits", trial.number, method.name, fingerprint(made_from))

    def _fitted(self, method: Method, values: Mapping[str, Any]) -> tuple[Figures, Mapping[str, Any]]:
        settings = _checked(method, values)
        if isinstance(settings, DdbSettings):
            return self._fit_ddb(settings)
        home = self._work(method)
        if isinstance(settings, TrainingSettings):  # other rivals put the settings into the names of their caches
            home = home / self.key(method, values).stem
        problem = replace(self.trial.problem, folder=home)
        fitted = fit_rival(RIVALS[method.name], problem, {**values, **method.given})
        save_classifier(fitted.classifier, _emptied(self.classifier_folder(method, values)))
        return fitted.figures, dict(fitted.facts)

    def _fit_ddb(self, settings: DdbSettings) -> tuple[Figures, Mapping[str, Any]]:
        """Retrain in the run folder, or in another one that shares all stages before pruning. All settings are compared
        on the same validation images."""
        folder, trial = self._run_folder(settings), self.trial
        if folder != trial.run:
            take_over(trial.run, folder, upto("score"))
        workspace = run_stages(trial, settings.applied(trial.config), folder, ("prune", "retrain"), self.progress)
        row = workspace.table("retrain").to_pylist()[0]
        validate = trial.problem.validate()
        assert validate is not None, 'the rule "last" is not offered'
        kept = workspace.table("prune")["keep"].to_pylist().count(True)
        return validate(load_classifier(_classifier(folder)).classifier), {
            "epoch": row["epoch"],
            "kept": kept,
        }

    def _run_folder(self, settings: Settings) -> Path:
        if settings == DdbSettings():
            return self.trial.run
        name = fingerprint(settings.model_dump(mode="json"))[:12]
        return self.trial.folder / "variants" / f"search-{name}"

    def _work(self, method: Method) -> Path:
        return self.trial.folder / "work" / method.name


def _checked(method: Method, values: Mapping[str, Any]) -> Settings:
    return method.settings(**values)


def _classifier(run: Path) -> Path:
    """The retrained classifier of a run folder."""
    return Workspace(run, STAGES).folder("retrain") / "classifier"


def _emptied(folder: Path) -> Path:
    """An empty folder at this path; files of an interrupted fit are removed."""
    if (folder / CARD).exists():
        (folder / CARD).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
