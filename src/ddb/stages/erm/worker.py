"""The worker of stage ERM: trains or adopts the classifier while it opens, then predicts."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.torch import load_file

from ddb.backends.classifiers.adopted import adopt_for, dropped_head
from ddb.backends.classifiers.named_weights import adopted_weights, classifier_identity
from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    create_classifier,
    load_classifier,
    save_classifier,
)
from ddb.config import ErmConfig
from ddb.config.fit import GROUPED
from ddb.context import Context
from ddb.data.stores.pixel_store import pixel_store
from ddb.learn import predict, processes
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.seeds import seed_of
from ddb.learn.training.fit import CHECKPOINT, RANKING, Material, fit, write_history
from ddb.learn.training.material import training_images
from ddb.learn.validation import group_cells, holdout, validator
from ddb.records import OK
from ddb.stage import Batch, Row, Tables, Worker
from ddb.stages.slots import rows_of

log = logging.getLogger("ddb")

CLASSIFIER = "classifier"
ADOPTED = "adopted.json"
"""What a classifier that was not trained here was taken from: the setting, and the identity of its files."""


@dataclass(frozen=True)
class Training:
    """Inputs of the stage. `groups` (columns id, attribute; validation ids) is for epoch selection "worst_group" or
    "discovered" alone; `batch_size`: images that are predicted at once."""

    context: Context
    settings: ErmConfig
    groups: pa.Table | None
    batch_size: int


def open_worker(work: Training, samples: pa.Table, folder: Path) -> Worker:
    """The worker that predicts `samples`; the classifier is trained first where `folder` holds none."""
    runtime = open_accelerator(work.context.device, work.context.precision)
    return _worker(work, samples, _trained(work, runtime, folder), runtime.exact(), folder)


def finish(tables: Tables, folder: Path) -> None:
    """Remove the checkpoint of the training."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _trained(work: Training, runtime: Runtime, folder: Path) -> LoadedClassifier:
    """The classifier in `folder`, trained first if it is not there."""
    if (folder / CLASSIFIER / CARD).exists():
        return load_classifier(folder / CLASSIFIER)
    settings, seed = work.settings, work.context.seed
    if adopted_weights(settings) is not None:
        return _adopted(work, folder)
    loaded = create_classifier(settings, work.context.dataset.classes, seed_of(seed, "erm", "head"))
    if (note := dropped_head(settings, work.context.dataset.classes)) and processes.leads():
        log.warning(note)
    material = _material(work, loaded, runtime)
    progress = fit(loaded.classifier, material, settings, runtime, seed_of(seed, "erm"), folder)
    with processes.leader_first():
        if processes.leads():
            write_history(folder, progress, settings.selection)
            save_classifier(loaded, folder / CLASSIFIER)
    return loaded


def _adopted(work: Training, folder: Path) -> LoadedClassifier:
    """The classifier that the settings name, stored in `folder` as a trained one is."""
    loaded = adopt_for(work.settings, work.context.dataset.classes)
    with processes.leader_first():
        if processes.leads():
            facts = {"weights": adopted_weights(work.settings), "identity": classifier_identity(work.settings)}
            (folder / ADOPTED).write_text(json.dumps(facts, indent=1) + "\n")
            save_classifier(loaded, folder / CLASSIFIER)
    return loaded


def _material(work: Training, loaded: LoadedClassifier, runtime: Runtime) -> Material:
    dataset, settings, preprocessing = work.context.dataset, work.settings, loaded.card.preprocessing
    train, val = dataset.split("train"), dataset.split("val")
    with processes.leader_first():
        held = holdout(val, pixel_store(dataset, val["id"].to_pylist(), preprocessing, work.context.cache))
    if settings.selection in GROUPED:
        held = replace(held, cells=group_cells(val, work.groups, f'erm.selection: "{work.settings.selection}"'))
    return Material(
        train=training_images(dataset, train, preprocessing, settings.augment, work.context.cache),
        validate=validator(settings.selection, [held], runtime, work.batch_size),
        rank_epoch=settings.rank_epoch,
    )


def _worker(work: Training, samples: pa.Table, loaded: LoadedClassifier, runtime: Runtime, folder: Path) -> Worker:
    ids, labels, splits = samples["id"].to_pylist(), samples["label"].to_numpy(), samples["split"].to_pylist()
    where = {item: index for index, item in enumerate(ids)}
    preprocessing = loaded.card.preprocessing
    pixels = pixel_store(work.context.dataset, ids, preprocessing, work.context.cache)
    ranking = _ranking_classifier(loaded, folder)

    def rows_for(batch: Batch) -> list[Row]:
        rows = np.array([where[name] if name is not None else 0 for name in batch], np.int64)
        chunk, own = pixels[rows], labels[rows]
        outputs = predict.logits(loaded.classifier, chunk, runtime, work.batch_size)
        ranks = outputs if ranking is None else predict.logits(ranking.classifier, chunk, runtime, work.batch_size)
        losses, probabilities = predict.cross_entropy(ranks, own), predict.softmax(outputs)

        def row(slot: int, name: str) -> Row:
            return {
                "id": name,
                "label": int(own[slot]),
                "split": splits[rows[slot]],
                "loss": float(losses[slot]),
                "probabilities": probabilities[slot].tolist(),
                "logits": outputs[slot].tolist(),
                "correct": bool(outputs[slot].argmax() == own[slot]),
                "status": OK,
                "error": "",
            }

        return rows_of(batch, {}, row)

    return rows_for


def _ranking_classifier(loaded: LoadedClassifier, folder: Path) -> LoadedClassifier | None:
    """The classifier with the weights of `rank_epoch`; None where the samples are ranked with the kept epoch."""
    if not (folder / RANKING).exists():
        return None
    twin = load_classifier(folder / CLASSIFIER)
    twin.classifier.model.load_state_dict(load_file(folder / RANKING))
    return twin
