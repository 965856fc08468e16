"""Stage 7, retraining with the kept counterfactuals: L = L_train + sum_c gamma_c L_gen_c (method section 7, paper).

Artefacts: `classifier/` and `fit.json`. With selection "counterfactual" a fifth of the kept pairs (by the hash of
their source) is never trained on: it takes the place of group labels in choosing the epoch.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    create_classifier,
    load_classifier,
    save_classifier,
)
from ddb.config import ErmConfig, RetrainConfig
from ddb.data.images import read_png
from ddb.data.picture_file import Pictures, PicturesAtUse
from ddb.data.picture_store import for_crops
from ddb.data.pixel_store import pixel_store
from ddb.data.preprocessing import Preprocessing
from ddb.data.table import Dataset
from ddb.learn import processes
from ddb.learn.classifier import Pixels
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.fit import CHECKPOINT, Images, Material, Term, fit, read_history, write_history
from ddb.learn.material import training_images
from ddb.learn.seeds import seed_of
from ddb.learn.selection import loss_weights
from ddb.learn.validation import Held, group_cells, holdout, validator
from ddb.records import FITS, OK
from ddb.stage import Row, Stage, Tables, Worker

log = logging.getLogger("ddb")

ROW = "classifier"
CLASSIFIER = "classifier"
PREDICT_BATCH = 128


def stage(
    dataset: Dataset,
    settings: RetrainConfig,
    erm: ErmConfig,
    seed: int,
    device: str,
    precision: str,
    group_labels: pa.Table | None = None,
) -> Stage:
    """`group_labels` (columns id, attribute; validation ids) is for selection "worst_group" alone."""
    gammas = loss_weights(settings.gammas, len(dataset.classes))

    def open_worker(tables: Tables, folder: Path) -> Worker:
        if not (folder / CLASSIFIER / CARD).exists():
            runtime = open_accelerator(device, precision)
            loaded = _start(tables, dataset, settings, erm, seed)
            material = _material(tables, dataset, settings, loaded, gammas, runtime, group_labels, folder)
            progress = fit(loaded.classifier, material, settings, runtime, seed_of(seed, "retrain"), folder)
            if processes.leads():
                write_history(folder, progress, settings.selection)
                save_classifier(loaded, folder / CLASSIFIER)
        return lambda ids: [_row(folder, settings) for _ in ids]

    def finish(tables: Tables, folder: Path) -> None:
        (folder / CHECKPOINT).unlink(missing_ok=True)

    return Stage(
        name="retrain",
        schema=FITS,
        needs=("erm", "inpaint", "prune"),
        settings={
            "retrain": settings.model_dump(mode="json"),
            "erm": erm.model_dump(mode="json"),
            "seed": seed,
            "precision": precision,
            "data": dataset.fingerprint,
            "groups": None if group_labels is None else group_labels.to_pydict(),
        },
        plan=lambda tables: [ROW],
        open=open_worker,
        batch_size=1,
        finish=finish,
    )


def held_out(source_id: str) -> bool:
    """True for a fixed fifth of the sources; all counterfactuals of a source fall on the same side."""
    return hashlib.sha256(source_id.encode()).digest()[0] % 5 == 0


def _start(tables: Tables, dataset: Dataset, settings: RetrainConfig, erm: ErmConfig, seed: int) -> LoadedClassifier:
    if settings.start == "erm":
        return load_classifier(tables.folder("erm") / CLASSIFIER)
    return create_classifier(erm, dataset.classes, seed_of(seed, "retrain", "head"))


def _row(folder: Path, settings: RetrainConfig) -> Row:
    history = read_history(folder)
    figures = history["epochs"][history["kept"] - 1]["figures"]
    value = figures[0] if figures else None
    return {
        "id": ROW,
        "epoch": history["kept"],
        "selection": settings.selection,
        "value": value,
        "status": OK,
        "error": "",
    }


def _material(
    tables: Tables,
    dataset: Dataset,
    settings: RetrainConfig,
    loaded: LoadedClassifier,
    gammas: Sequence[float],
    runtime: Runtime,
    groups: pa.Table | None,
    folder: Path,
) -> Material:
    how, cache = loaded.card.preprocessing, folder.parent / "cache"
    train, val = dataset.split("train"), dataset.split("val")
    kept = _kept(tables)
    with processes.leader_first():
        held = holdout(val, pixel_store(dataset, val["id"].to_pylist(), how, cache))
    if settings.selection == "worst_group":
        held = replace(held, cells=group_cells(val, groups, "retrain"))
    parts = [held]
    if settings.selection == "counterfactual":
        apart = pa.array([held_out(source) for source in kept["source_id"].to_pylist()], pa.bool_())
        parts.append(_held_pairs(kept.filter(apart), len(gammas), how))
        kept = kept.filter(pc.invert(apart))
    return Material(
        train=training_images(dataset, train, how, settings.augment, cache),
        terms=_terms(kept, gammas, settings, how),
        validate=validator(settings.selection, parts, runtime, PREDICT_BATCH),
        last_layer_only=settings.last_layer_only,
    )


def _held_pairs(rows: pa.Table, classes: int, how: Preprocessing) -> Held:
    """Counterfactuals that choose the epoch: a cell for every (class, made-from class)."""
    labels = rows["to_label"].to_numpy().astype(np.int64)
    return Held(_decode(rows, how), labels, classes * (1 + rows["from_label"].to_numpy().astype(np.int64)) + labels)


def _terms(kept: pa.Table, gammas: Sequence[float], settings: RetrainConfig, how: Preprocessing) -> tuple[Term, ...]:
    """One loss term for every class that has counterfactuals and a weight."""
    terms = []
    for label, gamma in enumerate(gammas):
        rows = kept.filter(pc.equal(kept["to_label"], label))
        if not len(rows):
            log.warning("Retraining: no counterfactual of class %d to learn from, so its loss term is missing.", label)
        elif gamma > 0:
            labels = np.full(len(rows), label, np.int64)
            images = Images(_decode(rows, how), labels, pictures=_pictures(rows, how, settings.augment.scale[0]))
            terms.append(Term(images, gamma, settings.generated_batch))
    return tuple(terms)


def _kept(tables: Tables) -> pa.Table:
    """The candidates with a verdict to keep, in the order of the verdicts."""
    verdicts = tables.table("prune")
    keep = verdicts.filter(verdicts["keep"])["id"].to_pylist()
    candidates = tables.table("inpaint")
    columns = candidates.select(["id", "source_id", "from_label", "to_label", "image"])
    return columns.take(pc.index_in(pa.array(keep, pa.string()), columns["id"].combine_chunks()))


def _pictures(rows: pa.Table, how: Preprocessing, smallest: float) -> Pictures:
    """The images as training pictures are kept, for random crops; decoded when they are asked for."""
    images = rows["image"]

    def draw(row: int) -> Pixels:
        return for_crops(read_png(images[row].as_py()), how.size, smallest)

    return PicturesAtUse(range(len(rows)), draw)


def _decode(rows: pa.Table, how: Preprocessing) -> Pixels:
    """The images at the classifier's input size, in an unnamed file on disk: [N, side, side, 3]."""
    side = how.size
    if not len(rows):
        return np.empty((0, side, side, 3), np.uint8)
    with tempfile.TemporaryFile() as file:
        pixels = np.memmap(file, np.uint8, "w+", shape=(len(rows), side, side, 3))
    for row, image in enumerate(rows["image"]):
        pixels[row] = how.square(read_png(image.as_py()))
    return pixels
