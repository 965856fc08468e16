"""The worker of stage retrain: trains the classifier while it opens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    create_like,
    load_classifier,
    read_card,
    save_classifier,
)
from ddb.config import ErmConfig, RetrainConfig
from ddb.config.fit import GROUPED
from ddb.context import Context
from ddb.data.counterfactuals import Counterfactuals, Rows
from ddb.data.images import Mask, Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.data.stores.pixel_store import pixel_store
from ddb.learn import processes
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import CHECKPOINT, Images, Material, Term, fit, read_history, write_history
from ddb.learn.training.material import crops, training_images
from ddb.learn.validation import Held, group_cells, holdout, validator
from ddb.records import OK
from ddb.stage import Row, Tables, Worker

log = logging.getLogger("ddb")

CLASSIFIER = "classifier"
PREDICT_BATCH = 128


@dataclass(frozen=True)
class Retraining:
    """Inputs of the stage. `gammas`: a weight for every class; `groups` (columns id, attribute; validation ids) is for
    epoch selection by groups alone."""

    context: Context
    settings: RetrainConfig
    erm: ErmConfig
    gammas: Sequence[float]
    groups: pa.Table | None


def open_worker(work: Retraining, tables: Tables, folder: Path) -> Worker:
    """The worker that describes the fit; the classifier is trained first where `folder` holds none."""
    if not (folder / CLASSIFIER / CARD).exists():
        _train(work, tables, folder)
    return lambda batch: [_row(name, folder, work.settings) for name in batch if name is not None]


def finish(tables: Tables, folder: Path) -> None:
    """Remove the checkpoint of the training."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _train(work: Retraining, tables: Tables, folder: Path) -> None:
    """Retrain, and write the classifier and the fit's history into `folder`."""
    runtime = open_accelerator(work.context.device, work.context.precision)
    loaded = _start(work, tables)
    material = _material(work, tables, loaded, runtime)
    seed = seed_of(work.context.seed, "retrain")
    progress = fit(loaded.classifier, material, work.settings, runtime, seed, folder)
    if processes.leads():
        write_history(folder, progress, work.settings.selection)
        save_classifier(loaded, folder / CLASSIFIER)


def _start(work: Retraining, tables: Tables) -> LoadedClassifier:
    if work.settings.start == "erm":
        return load_classifier(tables.folder("erm") / CLASSIFIER)
    pictures = read_card(tables.folder("erm") / CLASSIFIER).preprocessing
    seed = seed_of(work.context.seed, "retrain", "head")
    return create_like(work.erm, work.context.dataset.classes, seed, pictures)


def _row(name: str, folder: Path, settings: RetrainConfig) -> Row:
    history = read_history(folder)
    figures = history["epochs"][history["kept"] - 1]["figures"]
    value = figures[0] if figures else None
    return {
        "id": name,
        "epoch": history["kept"],
        "selection": settings.selection,
        "value": value,
        "status": OK,
        "error": "",
    }


def _material(work: Retraining, tables: Tables, loaded: LoadedClassifier, runtime: Runtime) -> Material:
    dataset, cache = work.context.dataset, work.context.cache
    preprocessing = loaded.card.preprocessing
    train, val = dataset.split("train"), dataset.split("val")
    candidates = Counterfactuals(tables, dataset)
    parts = _Parts(candidates, work, preprocessing, f"kept-{tables.folder('prune').name}")
    with processes.leader_first():
        held = holdout(val, pixel_store(dataset, val["id"].to_pylist(), preprocessing, cache))
        apart, terms = parts.held(), parts.terms()
    if work.settings.selection in GROUPED:
        held = replace(held, cells=group_cells(val, work.groups, f'retrain.selection: "{work.settings.selection}"'))
    return Material(
        train=training_images(dataset, train, preprocessing, work.settings.augment, cache),
        terms=terms,
        validate=validator(work.settings.selection, [held, apart], runtime, PREDICT_BATCH),
        last_layer_only=work.settings.last_layer_only,
    )


@dataclass(frozen=True)
class _Parts:
    """The kept counterfactuals in two parts: those held out for epoch selection, and for each class those to train on.
    `name`: prefix of the names of the files that cache their pixels; it identifies them."""

    candidates: Counterfactuals
    work: Retraining
    preprocessing: Preprocessing
    name: str

    @property
    def _apart(self) -> Mask:
        """Bool [N]: whether held out for epoch selection."""
        by_pairs = self.work.settings.selection == "counterfactual"
        return self.candidates.held_out if by_pairs else np.zeros(len(self.candidates), np.bool_)

    def held(self) -> Held:
        """The counterfactuals for epoch selection, with a cell for every (class, class of the source)."""
        rows = np.flatnonzero(self.candidates.kept & self._apart)
        labels = self.candidates.to_labels[rows]
        cells = len(self.work.gammas) * (1 + self.candidates.from_labels[rows]) + labels
        return Held(self._squares(rows, "held"), labels, cells)

    def terms(self) -> tuple[Term, ...]:
        """One loss term for every class that has counterfactuals to train on and a positive weight."""
        terms, own = [], self.candidates.kept & ~self._apart
        for label, gamma in enumerate(self.work.gammas):
            rows = np.flatnonzero(own & (self.candidates.to_labels == label))
            if not len(rows):
                name = self.work.context.dataset.classes[label]
                log.warning("Retraining: no counterfactual of class %s to learn from: its loss term is missing.", name)
            elif gamma > 0:
                terms.append(Term(self._images(rows, label), gamma, self.work.settings.generated_batch))
        return tuple(terms)

    def _images(self, rows: Rows, label: int) -> Images:
        labels, augment, side = np.full(len(rows), label, np.int64), self.work.settings.augment, self.preprocessing.size
        if not crops(augment):
            return Images(self._squares(rows, str(label)), labels)
        path = self.work.context.cache / f"{self.name}-{label}-{side}-{augment.scale[0]:g}.bin"
        pictures = self.candidates.pictures(side, augment.scale[0], rows, path)
        return Images(np.empty((0, side, side, 3), np.uint8), labels, pictures=pictures)

    def _squares(self, rows: Rows, part: str) -> Pixels:
        path = self.work.context.cache / f"{self.name}-{part}-{self.preprocessing.key}.npy"
        return self.candidates.at_input(self.preprocessing, rows, path)
