"""Stage 1, ERM: train (or load) the plain classifier and record what it thinks of every training and validation image.

Artefacts: `classifier/`, `fit.json` (loss and figures of every epoch) and, where `rank_epoch` is set, that epoch's
weights: the loss column ranks the samples and then comes from them, all else from the kept epoch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from safetensors.torch import load_file

from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    backbone_identity,
    create_classifier,
    load_classifier,
    save_classifier,
)
from ddb.config import ErmConfig
from ddb.data.pixel_store import pixel_store
from ddb.data.table import Dataset
from ddb.errors import ConfigError
from ddb.learn import predict, processes
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.fit import CHECKPOINT, RANKING, Material, fit, write_history
from ddb.learn.material import training_images
from ddb.learn.seeds import seed_of
from ddb.learn.validation import group_cells, holdout, validator
from ddb.records import OK, PREDICTIONS
from ddb.stage import Row, Stage, Tables, Worker

CLASSIFIER = "classifier"
PREDICT_BATCH = 128


def stage(
    dataset: Dataset,
    settings: ErmConfig,
    seed: int,
    device: str,
    precision: str,
    group_labels: pa.Table | None = None,
) -> Stage:
    """`group_labels` (columns id, attribute; validation ids) is for selection "worst_group" alone."""
    samples = pa.concat_tables([dataset.split("train"), dataset.split("val")])
    ids = samples["id"].to_pylist()

    def open_worker(tables: Tables, folder: Path) -> Worker:
        runtime = open_accelerator(device, precision)
        classifier = _trained(dataset, settings, seed, runtime, group_labels, folder)
        return _worker(dataset, samples, classifier, runtime.exact(), folder)

    def finish(tables: Tables, folder: Path) -> None:
        (folder / CHECKPOINT).unlink(missing_ok=True)

    return Stage(
        name="erm",
        schema=PREDICTIONS,
        needs=(),
        settings={
            "erm": settings.model_dump(mode="json", exclude={"weights"}),
            "backbone": backbone_identity(settings),
            "seed": seed,
            "precision": precision,
            "data": dataset.fingerprint,
            "groups": None if group_labels is None else group_labels.to_pydict(),
        },
        plan=lambda tables: ids,
        open=open_worker,
        batch_size=PREDICT_BATCH,
        finish=finish,
    )


def _trained(
    dataset: Dataset, settings: ErmConfig, seed: int, runtime: Runtime, groups: pa.Table | None, folder: Path
) -> LoadedClassifier:
    """The classifier in `folder`, trained first if it is not there."""
    if (folder / CLASSIFIER / CARD).exists():
        return load_classifier(folder / CLASSIFIER)
    if settings.rank_epoch and settings.rank_epoch > settings.epochs:
        raise ConfigError(f"erm.rank_epoch: {settings.rank_epoch} is after the last epoch ({settings.epochs}).")
    loaded = create_classifier(settings, dataset.classes, seed_of(seed, "erm", "head"))
    cache = folder.parent / "cache"
    train, val = dataset.split("train"), dataset.split("val")
    with processes.leader_first():
        held = holdout(val, pixel_store(dataset, val["id"].to_pylist(), loaded.card.preprocessing, cache))
    if settings.selection == "worst_group":
        held = replace(held, cells=group_cells(val, groups, "erm"))
    material = Material(
        train=training_images(dataset, train, loaded.card.preprocessing, settings.augment, cache),
        validate=validator(settings.selection, [held], runtime, PREDICT_BATCH),
        rank_epoch=settings.rank_epoch,
    )
    progress = fit(loaded.classifier, material, settings, runtime, seed_of(seed, "erm"), folder)
    with processes.leader_first():
        if processes.leads():
            write_history(folder, progress, settings.selection)
            save_classifier(loaded, folder / CLASSIFIER)
    return loaded


def _worker(dataset: Dataset, samples: pa.Table, loaded: LoadedClassifier, runtime: Runtime, folder: Path) -> Worker:
    ids, labels, splits = samples["id"].to_pylist(), samples["label"].to_numpy(), samples["split"].to_pylist()
    where = {item: index for index, item in enumerate(ids)}
    pixels = pixel_store(dataset, ids, loaded.card.preprocessing, folder.parent / "cache")
    ranking = _ranking_classifier(loaded, folder)

    def compute(rows: list[int]) -> list[Row]:
        chunk, own = pixels[rows[0] : rows[-1] + 1], labels[rows[0] : rows[-1] + 1]
        outputs = predict.logits(loaded.classifier, chunk, runtime, PREDICT_BATCH)
        ranks = outputs if ranking is None else predict.logits(ranking.classifier, chunk, runtime, PREDICT_BATCH)
        losses, probabilities = predict.cross_entropy(ranks, own), predict.softmax(outputs)
        return [
            {
                "id": ids[row],
                "label": int(labels[row]),
                "split": splits[row],
                "loss": float(losses[i]),
                "probabilities": probabilities[i].tolist(),
                "correct": bool(outputs[i].argmax() == labels[row]),
                "status": OK,
                "error": "",
            }
            for i, row in enumerate(rows)
        ]

    item = predict.in_fixed_chunks(compute, len(ids), PREDICT_BATCH)
    return lambda asked: [item(where[name]) for name in asked]


def _ranking_classifier(loaded: LoadedClassifier, folder: Path) -> LoadedClassifier | None:
    """The classifier as it was at `rank_epoch`; None where the kept epoch ranks."""
    if not (folder / RANKING).exists():
        return None
    twin = load_classifier(folder / CLASSIFIER)
    twin.classifier.model.load_state_dict(load_file(folder / RANKING))
    return twin
