"""One seed of a bench: its data, the ddb run whose stages all methods share, and the `Problem` that methods get.

Nothing here reads the test split (only `scores.py` does); methods get training and validation images.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ddb import pipeline
from ddb.backends.classifiers.adopted import adopt_for
from ddb.backends.classifiers.named_weights import adopted_weights
from ddb.backends.classifiers.timm_classifier import (
    LoadedClassifier,
    create_like,
    load_classifier,
    preprocessing_of,
)
from ddb.bench.options import Options
from ddb.config import FitConfig, RunConfig
from ddb.data.counterfactuals import Counterfactuals, Rows
from ddb.data.preprocessing import Preprocessing
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.discovery.before_run import discover_first
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError
from ddb.learn.classifier import Pixels
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import Images
from ddb.learn.training.material import crops, training_images
from ddb.learn.validation import Held
from ddb.rivals import Generated, Groups, Problem

log = logging.getLogger("ddb")
PREDICT_BATCH = 128


@dataclass(frozen=True)
class Trial:
    """`number`: index of the seed, from 0; `folder`: the seed's; `config`: settings with this seed and selection
    rule; `groups`: as in `Options`."""

    number: int
    folder: Path
    config: RunConfig
    select: str
    dataset: Dataset
    runtime: Runtime
    groups: str = "given"

    @property
    def seen(self) -> Dataset:
        """The data with the groups that methods are given in the place of attributes."""
        return self.dataset.with_discovered_as_attributes() if self.groups == "discovered" else self.dataset

    @property
    def run(self) -> Path:
        """The run folder whose stages all methods share."""
        return self.folder / "run"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.run, pipeline.STAGES)

    def erm(self) -> LoadedClassifier:
        """A fresh copy of the shared ERM model."""
        return load_classifier(self.workspace.folder("erm") / "classifier")

    def made_from(self, stage: str) -> str:
        """The part of a fingerprint that identifies the result of a stage of the run; "" where it is not finished."""
        current, done = self.workspace.current(stage), self.workspace.done(stage)
        return f"{current.fingerprint}:{done.digest}" if current and done else ""

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How pictures become the input of the classifiers of all methods: as that of the ERM model, trained or
        adopted."""
        if adopted_weights(self.config.erm) is None:
            return preprocessing_of(self.config.erm)
        return adopt_for(self.config.erm, self.dataset.classes).card.preprocessing  # also before the run has begun

    @cached_property
    def painted(self) -> bool:
        """Whether the run has verdicts on counterfactuals."""
        return self.workspace.done("prune") is not None

    @cached_property
    def problem(self) -> Problem:
        """The problem with all labels and images; `fit_rival` removes those that a rival does not declare."""
        train, val = (self.seen.split(name) for name in ("train", "val"))
        generated, val_pairs = None, None
        if self.painted:
            found = Counterfactuals(self.workspace, self.dataset)
            apart = found.held_out if self.select == "counterfactual" else np.zeros(len(found), bool)
            own = np.flatnonzero(found.kept & ~apart)
            if self.select == "counterfactual":
                val_pairs = self._held(found, np.flatnonzero(found.kept & apart))
                if not len(val_pairs.labels):
                    log.warning("Seed %d: no kept counterfactual is held out: classes alone select.", self.config.seed)
            if len(own):
                generated = self._generated(found, own, train["id"].to_pylist())
        return Problem(
            train=self._images(train),
            val=self._images(val),
            classes=self.dataset.classes,
            attributes=self.seen.attributes,
            erm=self.erm,
            start=self._start,
            fit=shared_budget(self.config),
            selection=self.select,
            runtime=self.runtime,
            seed=self.config.seed,
            folder=self.folder / "work",
            train_groups=group_numbers(train, len(self.seen.attributes)),
            val_groups=group_numbers(val, len(self.seen.attributes)),
            counterfactuals=generated,
            val_pairs=val_pairs,
            batch=PREDICT_BATCH,
        )

    def _start(self) -> LoadedClassifier:
        seed = seed_of(self.config.seed, "rival")
        return create_like(self.config.erm, self.dataset.classes, seed, self.preprocessing)

    def _images(self, samples: pa.Table) -> Images:
        augment = self.config.erm.augment
        return training_images(self.dataset, samples, self.preprocessing, augment, self.run / "cache")

    def _generated(self, found: Counterfactuals, rows: Rows, train_ids: Sequence[str]) -> Generated:
        row_of = {name: row for row, name in enumerate(train_ids)}
        sources = np.array([row_of[found.source_ids[row]] for row in rows.tolist()], np.int64)
        pictures = None
        if crops(self.config.erm.augment):
            path = self.run / "cache" / f"bench-generated-{self.workspace.folder('prune').name}.bin"
            smallest = self.config.erm.augment.scale[0]
            pictures = found.pictures(self.preprocessing.size, smallest, rows, path)
        images = Images(self._at_input(found, rows, "generated"), found.to_labels[rows], pictures=pictures)
        return Generated(images, found.from_labels[rows], sources)

    def _held(self, found: Counterfactuals, rows: Rows) -> Held:
        """Held-out counterfactuals for selection, with a cell for every (class, class of the source); these cells are
        distinct from those of real images."""
        labels = found.to_labels[rows]
        cells = len(self.dataset.classes) * (1 + found.from_labels[rows]) + labels
        return Held(self._at_input(found, rows, "held"), labels, cells)

    def _at_input(self, found: Counterfactuals, rows: Rows, name: str) -> Pixels:
        return found.at_input(self.preprocessing, rows, self.run / "cache" / f"bench-{name}.npy")


def config_of(config: RunConfig, number: int, select: str) -> RunConfig:
    """The settings of a seed: its number is added to the configured seed, and to the seed of a built-in world. `select`
    is the rule of epoch selection (for ERM, which has no counterfactuals yet, "worst_class" instead of
    "counterfactual")."""
    tree = config.model_dump()
    tree["seed"] += number
    if config.data.source == "pocket":
        tree["data"]["pocket"]["seed"] += number
    tree["erm"]["selection"] = "worst_class" if select == "counterfactual" else select
    tree["retrain"]["selection"] = select
    return RunConfig.model_validate(tree)


def open_trial(
    config: RunConfig, options: Options, number: int, folder: Path, until: str | None, progress: Progress
) -> Trial:
    """Bring the seed's run to the stage `until` (None: to none) and read its data."""
    own = config_of(config, number, options.select)
    run = folder / "run"
    if options.groups == "discovered":
        own = _with_discovered(own, options.select, run, progress)
    if until is not None:
        pipeline.run(own, run, until=until, progress=progress)
    dataset = load_dataset(own.data, run / "cache")
    runtime = open_accelerator(own.device, own.precision)
    return Trial(number, folder, own, options.select, dataset, runtime, options.groups)


def _with_discovered(config: RunConfig, select: str, run: Path, progress: Progress) -> RunConfig:
    """The settings with the discovered groups of the seed's data: those of `data.groups`, else looked for here. Where
    groups select, it is these. ConfigError where nothing is found."""
    groups = config.data.groups or discover_first(config, run, say=progress.say).data.groups
    if not groups:
        raise ConfigError(
            f"--groups discovered: nothing usable was found in the data of seed {config.seed} "
            f"({run / 'discover' / 'discover.html'}). Compare with given groups, or by --select worst_class."
        )
    tree = config.model_dump()
    tree["data"]["groups"] = groups
    if select == "worst_group":
        tree["erm"]["selection"] = tree["retrain"]["selection"] = "discovered"
    return RunConfig.model_validate(tree)


def shared_budget(config: RunConfig) -> FitConfig:
    """The budget of all methods: epochs, batch size, learning rate, weight decay and augmentation of ERM. ConfigError
    where that is no epochs."""
    if not config.erm.epochs:
        raise ConfigError(
            "erm.epochs: 0 leaves the rivals no epochs to train; name the trained model with erm.classifier, and set "
            "erm.epochs to their budget."
        )
    return FitConfig.model_validate(config.erm.model_dump(include=set(FitConfig.model_fields)))


def group_numbers(samples: pa.Table, attributes: int) -> Groups | None:
    """label * attributes + attribute; None where an attribute is unknown."""
    if not attributes or samples["attribute"].null_count:
        return None
    numbers: Groups = samples["label"].to_numpy().astype(np.int64) * attributes + samples["attribute"].to_numpy()
    return numbers
