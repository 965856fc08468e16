"""The worker of stage retrain: trains the classifier while it opens."""

from __future__ import annotations

from pathlib import Path

from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    create_like,
    load_classifier,
    read_card,
    save_classifier,
)
from ddb.config import RetrainConfig
from ddb.learn import processes
from ddb.learn.device import open_accelerator
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import CHECKPOINT, fit, read_history, write_history
from ddb.records import OK
from ddb.stage import Row, Tables, Worker
from ddb.stages.retrain.material import Retraining as Retraining
from ddb.stages.retrain.material import retraining_material

CLASSIFIER = "classifier"


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
    material = retraining_material(work, tables, loaded.card.preprocessing, runtime)
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
