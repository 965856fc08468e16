"""Stage 7, retraining with the kept counterfactuals: L = L_train + sum_c gamma_c L_gen_c (method section 7, paper).

Artefacts: `classifier/` and `fit.json`. With selection "counterfactual" a fifth of the kept pairs (by the hash of
their source) is never trained on: it takes the place of group labels in choosing the epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ddb.backends.classifiers.timm_classifier import (
    CARD,
    LoadedClassifier,
    create_classifier,
    load_classifier,
    save_classifier,
)
from ddb.config import ErmConfig, RetrainConfig
from ddb.context import Context, Models
from ddb.data.counterfactuals import Counterfactuals, Rows
from ddb.data.images import Pixels
from ddb.data.pixel_store import pixel_store
from ddb.learn import processes
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.fit import CHECKPOINT, Images, Material, Term, fit, read_history, write_history
from ddb.learn.seeds import seed_of
from ddb.learn.selection import loss_weights
from ddb.learn.validation import Held, group_cells, holdout, validator
from ddb.records import FITS, OK
from ddb.stage import Fixed, Need, Row, Stage, Tables, Worker

log = logging.getLogger("ddb")

ROW = "classifier"
CLASSIFIER = "classifier"
PREDICT_BATCH = 128


@dataclass(frozen=True)
class Retraining:
    """What retraining reads. `gammas`: a weight for every class; `groups` (columns id, attribute; validation ids) is
    for selection "worst_group" alone."""

    context: Context
    settings: RetrainConfig
    erm: ErmConfig
    gammas: Sequence[float]
    groups: pa.Table | None


def stage(
    context: Context,
    settings: RetrainConfig,
    erm: ErmConfig,
    content: Mapping[str, object],
    group_labels: pa.Table | None = None,
) -> Stage:
    """`group_labels` (columns id, attribute; validation ids) is for selection "worst_group" alone."""
    gammas = loss_weights(settings.gammas, len(context.dataset.classes))
    work = Retraining(context, settings, erm, gammas, group_labels)

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        if not (folder / CLASSIFIER / CARD).exists():
            _train(work, tables, folder)
        return lambda batch: [_row(folder, settings) for name in batch if name is not None]

    def finish(tables: Tables, folder: Path) -> None:
        (folder / CHECKPOINT).unlink(missing_ok=True)

    return Stage(
        name="retrain",
        schema=FITS,
        needs={"erm": Need.TABLE, "inpaint": Need.TABLE, "prune": Need.TABLE},
        content={
            **content,
            "data": context.dataset.identity(["train", "val"]),
            "groups": None if group_labels is None else group_labels.to_pydict(),
        },
        plan=lambda tables: [ROW],
        open=open_worker,
        batch_size=1,
        finish=finish,
    )


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
    return create_classifier(work.erm, work.context.dataset.classes, seed_of(work.context.seed, "retrain", "head"))


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


def _material(work: Retraining, tables: Tables, loaded: LoadedClassifier, runtime: Runtime) -> Material:
    dataset, cache = work.context.dataset, work.context.cache
    preprocessing = loaded.card.preprocessing
    train, val = dataset.split("train"), dataset.split("val")
    candidates = Counterfactuals(tables, dataset)
    parts = _Parts.of(candidates, work)
    with processes.leader_first():
        held = holdout(val, pixel_store(dataset, val["id"].to_pylist(), preprocessing, cache))
        pixels = candidates.at_input(preprocessing, parts.rows, cache / f"kept-{tables.folder('prune').name}.npy")
    if work.settings.selection == "worst_group":
        held = replace(held, cells=group_cells(val, work.groups, "retrain"))
    return Material(
        train=Images(
            pixel_store(dataset, train["id"].to_pylist(), preprocessing, cache),
            train["label"].to_numpy().astype(np.int64),
        ),
        terms=parts.terms(pixels, work),
        validate=validator(work.settings.selection, [held, parts.held(pixels)], runtime, PREDICT_BATCH),
        last_layer_only=work.settings.last_layer_only,
    )


@dataclass(frozen=True)
class _Parts:
    """The kept counterfactuals as retraining takes them: `rows` of `candidates`, first those that choose the epoch,
    then class by class those that are learned from; a part ends where `ends` says."""

    candidates: Counterfactuals
    rows: Rows
    ends: tuple[int, ...]

    @staticmethod
    def of(candidates: Counterfactuals, work: Retraining) -> _Parts:
        apart = candidates.held_out if work.settings.selection == "counterfactual" else np.zeros(len(candidates), bool)
        own = candidates.kept & ~apart
        parts = [np.flatnonzero(candidates.kept & apart)]
        parts += [np.flatnonzero(own & (candidates.to_labels == label)) for label in range(len(work.gammas))]
        ends = np.cumsum([len(part) for part in parts]).tolist()
        return _Parts(candidates, np.concatenate(parts), tuple(ends))

    def held(self, pixels: Pixels) -> Held:
        """Counterfactuals that choose the epoch: a cell for every (class, made-from class)."""
        rows, classes = self.rows[: self.ends[0]], len(self.ends) - 1
        labels = self.candidates.to_labels[rows]
        return Held(pixels[: self.ends[0]], labels, classes * (1 + self.candidates.from_labels[rows]) + labels)

    def terms(self, pixels: Pixels, work: Retraining) -> tuple[Term, ...]:
        """One loss term for every class that has counterfactuals and a weight."""
        terms = []
        for label, gamma in enumerate(work.gammas):
            part = slice(self.ends[label], self.ends[label + 1])
            count = part.stop - part.start
            if not count:
                name = work.context.dataset.classes[label]
                log.warning("Retraining: no counterfactual of class %s to learn from: its loss term is missing.", name)
            elif gamma > 0:
                images = Images(pixels[part], np.full(count, label, np.int64))
                terms.append(Term(images, gamma, work.settings.generated_batch))
        return tuple(terms)
