"""One seed of a bench: its data, the ddb run whose stages all methods share, and the `Problem` that methods get.

Nothing here reads the test split (`scores.py` alone does); what methods see are training and validation images.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb import pipeline
from ddb.backends.classifiers.timm_classifier import (
    LoadedClassifier,
    create_classifier,
    load_classifier,
    preprocessing_of,
)
from ddb.bench.options import Options
from ddb.config import FitConfig, RunConfig
from ddb.data.images import read_png
from ddb.data.preprocessing import Preprocessing
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.engine.progress import Progress
from ddb.engine.workspace import Workspace
from ddb.learn.classifier import Pixels
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.fit import Images
from ddb.learn.material import training_images
from ddb.learn.seeds import seed_of
from ddb.learn.validation import Held
from ddb.rivals import Generated, Groups, Problem
from ddb.stages.retrain import held_out

log = logging.getLogger("ddb")
PREDICT_BATCH = 128


@dataclass(frozen=True)
class Trial:
    """`number` counts seeds from 0; `folder` is the seed's; `config` has the seed and the selection rule in it."""

    number: int
    folder: Path
    config: RunConfig
    select: str
    dataset: Dataset
    runtime: Runtime

    @property
    def run(self) -> Path:
        """The run folder whose stages are shared."""
        return self.folder / "run"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.run, pipeline.STAGES)

    def erm(self) -> LoadedClassifier:
        """A fresh copy of the shared ERM model."""
        return load_classifier(self.workspace.folder("erm") / "classifier")

    def made_from(self, stage: str) -> str:
        """What a finished stage of the run contributes to fingerprints; "" where it is not finished."""
        done = self.workspace.done(stage)
        return f"{done.fingerprint}:{done.digest}" if done else ""

    @cached_property
    def painted(self) -> bool:
        """Whether the run has verdicts on counterfactuals."""
        return self.workspace.done("prune") is not None

    @cached_property
    def problem(self) -> Problem:
        """All that any method may see; `fit_rival` takes away what a rival does not declare."""
        train, val = (self.dataset.split(name) for name in ("train", "val"))
        pairs = _kept(self.workspace) if self.painted else None
        generated, val_pairs = None, None
        if pairs is not None and self.select == "counterfactual":
            apart = pa.array([held_out(source) for source in pairs["source_id"].to_pylist()], pa.bool_())
            val_pairs = self._held(pairs.filter(apart))
            pairs = pairs.filter(pc.invert(apart))
            if not len(val_pairs.labels):
                log.warning("Seed %d: no kept counterfactual is held out, so classes alone select.", self.config.seed)
        if pairs is not None and len(pairs):
            generated = self._generated(pairs, train["id"].to_pylist())
        return Problem(
            train=self._images(train),
            val=self._images(val),
            classes=self.dataset.classes,
            attributes=self.dataset.attributes,
            erm=self.erm,
            start=lambda: create_classifier(self.config.erm, self.dataset.classes, seed_of(self.config.seed, "rival")),
            fit=shared_budget(self.config),
            selection=self.select,
            runtime=self.runtime,
            seed=self.config.seed,
            folder=self.folder / "work",
            train_groups=group_numbers(train, len(self.dataset.attributes)),
            val_groups=group_numbers(val, len(self.dataset.attributes)),
            counterfactuals=generated,
            val_pairs=val_pairs,
            batch=PREDICT_BATCH,
        )

    def _images(self, samples: pa.Table) -> Images:
        erm = self.config.erm
        return training_images(self.dataset, samples, preprocessing_of(erm), erm.augment, self.run / "cache")

    def _generated(self, pairs: pa.Table, train_ids: Sequence[str]) -> Generated:
        place = {name: row for row, name in enumerate(train_ids)}
        labels, backgrounds = (pairs[name].to_numpy().astype(np.int64) for name in ("to_label", "from_label"))
        sources = np.array([place[name] for name in pairs["source_id"].to_pylist()], np.int64)
        return Generated(Images(decoded(pairs, preprocessing_of(self.config.erm)), labels), backgrounds, sources)

    def _held(self, pairs: pa.Table) -> Held:
        """Counterfactuals to select with: a cell for every (class, made-from class), apart from the classes' own."""
        labels, made_from = (pairs[name].to_numpy().astype(np.int64) for name in ("to_label", "from_label"))
        cells = len(self.dataset.classes) * (1 + made_from) + labels
        return Held(decoded(pairs, preprocessing_of(self.config.erm)), labels, cells)


def config_of(config: RunConfig, number: int, select: str) -> RunConfig:
    """The settings of a seed: its number is added to the configured seed, and to that of a drawn data set; `select`
    chooses the epochs (the ERM model, which has no counterfactuals yet, goes by worst class instead)."""
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
    if until is not None:
        pipeline.run(own, run, until=until, progress=progress)
    dataset = load_dataset(own.data, run / "cache")
    return Trial(number, folder, own, options.select, dataset, open_accelerator(own.device, own.precision))


def shared_budget(config: RunConfig) -> FitConfig:
    """What all methods train with: the ERM model's epochs, batch size, rates and augmentation."""
    return FitConfig.model_validate(config.erm.model_dump(include=set(FitConfig.model_fields)))


def group_numbers(samples: pa.Table, attributes: int) -> Groups | None:
    """label * attributes + attribute; None where an attribute is unknown."""
    if not attributes or samples["attribute"].null_count:
        return None
    numbers: Groups = samples["label"].to_numpy().astype(np.int64) * attributes + samples["attribute"].to_numpy()
    return numbers


def decoded(rows: pa.Table, preprocessing: Preprocessing) -> Pixels:
    """The column `image` at the classifier's input size: uint8 [N, size, size, 3]."""
    images, side = [preprocessing.square(read_png(image.as_py())) for image in rows["image"]], preprocessing.size
    return np.stack(images) if images else np.empty((0, side, side, 3), np.uint8)


def _kept(workspace: Workspace) -> pa.Table:
    """Candidates with a verdict to keep, in the order of the verdicts."""
    verdicts, candidates = workspace.table("prune"), workspace.table("inpaint")
    keep = verdicts.filter(verdicts["keep"])["id"]
    columns = candidates.select(["id", "source_id", "from_label", "to_label", "image"])
    return columns.take(pc.index_in(keep.combine_chunks(), columns["id"].combine_chunks()))
