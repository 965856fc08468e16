"""What both sides get: the written data set, the pocket backbone with one fresh last layer a seed, the budget."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddb.backends.classifiers.timm_classifier import (
    LoadedClassifier,
    create_classifier,
    load_classifier,
    preprocessing_of,
    save_classifier,
)
from ddb.bench.fits.trial import group_numbers
from ddb.config import Augment, DataConfig, ErmConfig, FitConfig, PocketConfig
from ddb.data.sources.load import load_dataset
from ddb.data.stores.pixel_store import pixel_store
from ddb.data.table import Dataset
from ddb.learn import predict
from ddb.learn.device import open_accelerator
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import Images, Material, fit
from ddb.learn.validation import lowest_accuracy
from ddb.pocket.datasets import write_pocket
from ddb.rivals import Problem

WORLD = PocketConfig(train=800, val=320, test=800, correlation=0.9)
"""Smaller than the preset's and less correlated, so that the smallest group (18 images) is not luck alone. 800 is a
multiple of the batch size: ours leaves an incomplete last batch out, the public codes keep it."""

BUDGET = FitConfig(
    epochs=3,
    batch_size=32,
    lr=1e-2,
    weight_decay=1e-3,
    schedule="constant",
    selection="worst_group",
    augment=Augment(scale=(1.0, 1.0), flip=False),
)
"""SGD with momentum 0.9, a constant rate and no augmentation: what all public codes can do."""

STEPS = WORLD.train // BUDGET.batch_size
"""Steps in an epoch."""

SIDE, CLASSES, BATCH = 64, ("landbird", "waterbird"), 128
BACKBONE = ErmConfig(backbone="pocket", weights="pocket", image_size=SIDE)


@dataclass(frozen=True)
class Row:
    """A line of the table. `code`: the public code's file here; `rival` with `settings` is ours; `theirs` says which of
    the public code runs, `departures` what stays different."""

    name: str
    code: str
    title: str
    rival: str
    theirs: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    departures: str = ""


@dataclass(frozen=True)
class Ground:
    """Everything that is shared, under the folder `out`."""

    out: Path

    @property
    def data(self) -> Path:
        """The data set in the layout of Waterbirds; drawn once for all seeds."""
        folder = self.out / "pocket-waterbirds"
        if not (folder / "metadata.csv").exists():
            write_pocket(folder, WORLD)
        return folder.resolve()

    @cached_property
    def dataset(self) -> Dataset:
        logging.getLogger("ddb").setLevel(logging.ERROR)  # it has not the published group counts: known
        return load_dataset(DataConfig(source="waterbirds", root=str(self.data)))

    def images(self, split: str) -> Images:
        rows = self.dataset.split(split)
        pixels = pixel_store(self.dataset, rows["id"].to_pylist(), preprocessing_of(BACKBONE), self.out / "cache")
        return Images(pixels, rows["label"].to_numpy().astype(np.int64))

    def groups(self, split: str) -> np.ndarray:
        """int64 [N], 2 label + place."""
        groups = group_numbers(self.dataset.split(split), 2)
        assert groups is not None
        return groups

    def start(self, seed: int) -> LoadedClassifier:
        """The pretrained backbone with the seed's last layer: what every model of both sides starts from."""
        loaded = create_classifier(BACKBONE, CLASSES, seed_of(seed, "parity"))
        loaded.classifier.on(torch.device("cpu"))  # channels last, for both sides
        return loaded

    def erm(self, seed: int) -> LoadedClassifier:
        """ERM of the last epoch, trained once a seed: what last-layer methods of both sides start from."""
        folder = self.out / "erm" / str(seed)
        if not (folder / "classifier.json").exists():
            loaded, budget = self.start(seed), BUDGET.model_copy(update={"selection": "last"})
            runtime = open_accelerator("cpu", "fp32")
            fit(loaded.classifier, Material(self.images("train")), budget, runtime, seed_of(seed, "erm"), folder)
            save_classifier(loaded, folder)
        loaded = load_classifier(folder)
        loaded.classifier.on(torch.device("cpu"))
        return loaded

    def problem(self, row: Row, seed: int) -> Problem:
        """What ours gets."""
        return Problem(
            train=self.images("train"),
            val=self.images("val"),
            classes=self.dataset.classes,
            attributes=self.dataset.attributes,
            erm=lambda: self.erm(seed),
            start=lambda: self.start(seed),
            fit=BUDGET,
            selection="worst_group",
            runtime=open_accelerator("cpu", "fp32"),
            seed=seed,
            folder=self.out / "work" / f"{row.name}-{seed}",
            train_groups=self.groups("train"),
            val_groups=self.groups("val"),
            batch=BATCH,
        )

    def worst_group(self, loaded: LoadedClassifier) -> float:
        """Worst-group accuracy on the test images."""
        test = self.images("test")
        outputs = predict.logits(loaded.classifier, test.pixels, open_accelerator("cpu", "fp32"), BATCH)
        return lowest_accuracy(outputs.argmax(axis=1) == test.labels, self.groups("test"))
