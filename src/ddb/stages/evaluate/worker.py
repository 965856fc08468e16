"""The worker of stage evaluate: predictions of both classifiers, and the figures of metrics.json."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ddb.backends.classifiers.timm_classifier import LoadedClassifier, load_classifier
from ddb.config import DataConfig
from ddb.context import Context
from ddb.data.counterfactuals import Counterfactuals, Rebuilt, Rows
from ddb.data.images import Pixels, read_mask
from ddb.data.preprocessing import Preprocessing
from ddb.data.sources.load import load_in_distribution
from ddb.data.stores.pixel_store import pixel_store
from ddb.data.table import Dataset, codes
from ddb.learn import leak, metrics, predict
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.shortcuts import follows, reliance
from ddb.records import FAMILIAR, OK, Group
from ddb.stage import Batch, Row, Tables, Worker
from ddb.stages.evaluate import changes
from ddb.stages.slots import rows_of

METRICS = "metrics.json"
MEASURED_AT_ONCE = 128
"""Batch size of the measures of shortcut learning: a constant, since the last bits of the figures depend on it."""
RELIANCE_IMAGES, FLIP_PAIRS = 64, 10_000
"""Most images, and most pairs (random ones), that shortcut reliance and the flip rate are measured on."""
PROBE_PAIRS, PROBE_IMAGES, PROBE_LEAST = 512, 1024, 10
"""Leak test: most pairs, most training images that the probe is applied to, fewest pairs to fit or to test it."""


@dataclass(frozen=True)
class Evaluation:
    """Inputs of the figures: `dataset` with its attributes, the classifiers before and after, the folder of decoded
    pixels."""

    dataset: Dataset
    loaded: Mapping[str, LoadedClassifier]
    runtime: Runtime
    batch_size: int
    cache: Path

    @property
    def preprocessing(self) -> Preprocessing:
        return self.loaded["before"].card.preprocessing

    def pixels(self, ids: list[str]) -> Pixels:
        return pixel_store(self.dataset, ids, self.preprocessing, self.cache)

    def features(self, pixels: Pixels) -> predict.Floats:
        return predict.features(self.loaded["before"].classifier, pixels, self.runtime, self.batch_size)


@dataclass(frozen=True)
class Evaluating:
    """Inputs of the stage: `dataset` with its attributes; `familiar`: ids of the in-distribution images; `maps`: number
    of test images of each kind of change with attribution maps."""

    context: Context
    dataset: Dataset
    data: DataConfig
    familiar: list[str]
    maps: int


def open_worker(work: Evaluating, tables: Tables, batch_size: int) -> Worker:
    """The worker that predicts test images and in-distribution images."""
    return _worker(_evaluation(work, tables, batch_size), work.familiar, work.data)


def finish(work: Evaluating, tables: Tables, folder: Path) -> None:
    """Measure, and write metrics.json and the attribution maps."""
    evaluation = _evaluation(work, tables, MEASURED_AT_ONCE)
    facts = measure(tables, evaluation)
    shown = changes.chosen(tables.table("evaluate"), work.maps)
    changes.write_maps(folder / changes.CHANGES, shown, evaluation.pixels, evaluation.loaded, evaluation.runtime)
    (folder / METRICS).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")


def _evaluation(work: Evaluating, tables: Tables, batch_size: int) -> Evaluation:
    stages, context = {"before": "erm", "after": "retrain"}, work.context
    loaded = {when: load_classifier(tables.folder(name) / "classifier") for when, name in stages.items()}
    runtime = open_accelerator(context.device, context.precision).exact()
    return Evaluation(work.dataset, loaded, runtime, batch_size, context.cache)


@dataclass(frozen=True)
class _Images:
    """Images that are evaluated: ids, labels and pixels of one split."""

    split: str
    ids: list[str]
    labels: list[int]
    pixels: Pixels

    @cached_property
    def where(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}


def _worker(evaluation: Evaluation, familiar: list[str], data: DataConfig) -> Worker:
    samples = evaluation.dataset.split("test")
    names: list[str] = samples["id"].to_pylist()
    images = [_Images("test", names, samples["label"].to_pylist(), evaluation.pixels(names))]
    if familiar:
        drawn = load_in_distribution(data, len(familiar), evaluation.cache)
        pixels = pixel_store(drawn, drawn.samples["id"].to_pylist(), evaluation.preprocessing, evaluation.cache)
        images.append(_Images(FAMILIAR, familiar, drawn.samples["label"].to_pylist(), pixels))

    def work(batch: Batch) -> list[Row]:
        """A batch may hold images of both splits."""
        size = evaluation.preprocessing.size
        pixels, facts = np.zeros((len(batch), size, size, 3), np.uint8), {}
        for slot, name in enumerate(batch):
            for part in images:
                if name in part.where:
                    row = part.where[name]
                    pixels[slot], facts[slot] = part.pixels[row], {"label": part.labels[row], "split": part.split}
        found = {
            when: predict.softmax(predict.logits(one.classifier, pixels, evaluation.runtime, evaluation.batch_size))
            for when, one in evaluation.loaded.items()
        }

        def row_of(slot: int, name: str) -> Row:
            outcome = {when: probabilities[slot].tolist() for when, probabilities in found.items()}
            return {"id": name, **facts[slot], **outcome, "status": OK, "error": ""}

        return rows_of(batch, {}, row_of)

    return work


def measure(tables: Tables, evaluation: Evaluation) -> dict[str, Any]:
    """The content of metrics.json, from the rows of this stage and the tables of the stages before it."""
    outcomes = tables.table("evaluate")
    outcomes = outcomes.filter(pc.equal(outcomes["status"], OK))
    fit = tables.table("retrain").to_pylist()[0]
    candidates = Counterfactuals(tables, evaluation.dataset)
    kept = _shuffled(candidates)
    return {
        **{when: _figures(evaluation.dataset, outcomes, when) for when in evaluation.loaded},
        "counts": _counts(tables),
        "selection": {name: fit[name] for name in ("selection", "epoch", "value")},
        FAMILIAR: _familiar(outcomes),
        "flip_rate": _flip_rate(evaluation, candidates, kept),
        "shortcut_reliance": _reliance(evaluation, tables),
        "leak": _leak(evaluation, candidates, kept),
        "classes": list(evaluation.dataset.classes),
        "attributes": list(evaluation.dataset.attributes),
        **_discovered(evaluation, outcomes),
    }


def _discovered(evaluation: Evaluation, outcomes: pa.Table) -> dict[str, Any]:
    """Figures over the discovered groups, before and after, beside those over given attributes; empty where there are
    none."""
    if not evaluation.dataset.discovered:
        return {}
    seen = evaluation.dataset.with_discovered_as_attributes()
    return {"discovered": {when: _figures(seen, outcomes, when) for when in evaluation.loaded}}


def _figures(dataset: Dataset, outcomes: pa.Table, when: str) -> dict[str, Any]:
    """Figures per group and over all test images that have predictions; `train`: the group's training images."""
    rows = outcomes.filter(pc.equal(outcomes["split"], "test"))
    train = dataset.split("train")
    counts = Counter(map(Group, train["label"].to_pylist(), codes(train["attribute"]).tolist()))
    probabilities = np.array(rows[when].to_pylist(), np.float64)
    own = codes(dataset.samples["attribute"])[[dataset.rows[name] for name in rows["id"].to_pylist()]]
    figures = metrics.summarise(probabilities, rows["label"].to_numpy(), own, counts)
    classes = Counter(train["label"].to_pylist())
    for row in figures["groups"]:
        own_class = row["attribute"] is None
        row["train"] = classes[row["label"]] if own_class else counts[Group(row["label"], row["attribute"])]
        row["label_name"] = dataset.classes[row["label"]]
        row["attribute_name"] = None if row["attribute"] is None else dataset.attributes[row["attribute"]]
    return figures


def _counts(tables: Tables) -> dict[str, Any]:
    directions = json.loads((tables.folder("prune") / "summary.json").read_text())
    names = ("generated", "pruned_psi", "pruned_rho", "over_budget", "kept")
    return {**{name: sum(row[name] for row in directions) for name in names}, "directions": directions}


def _familiar(outcomes: pa.Table) -> dict[str, Any] | None:
    """Accuracy on images drawn from the training distribution; None where there are none."""
    rows = outcomes.filter(pc.equal(outcomes["split"], FAMILIAR))
    if not len(rows):
        return None
    labels = rows["label"].to_numpy()
    right = {when: np.array(rows[when].to_pylist()).argmax(axis=1) == labels for when in ("before", "after")}
    return {**{when: float(correct.mean()) for when, correct in right.items()}, "n": len(rows)}


def _shuffled(candidates: Counterfactuals) -> Rows:
    """Kept candidates sorted by the hash of their id, so that the first n are a random sample."""
    kept = np.flatnonzero(candidates.kept)
    return np.array(sorted(kept.tolist(), key=lambda row: _hash(candidates.ids[row])), np.int64)


def _pairs(evaluation: Evaluation, candidates: Counterfactuals, rows: Rows) -> tuple[Pixels, Pixels]:
    """Sources and counterfactuals at the classifier's input size."""

    def at_input(one: Rebuilt) -> tuple[Pixels, Pixels]:
        return evaluation.preprocessing.square(one.source), evaluation.preprocessing.square(one.image)

    sources, images = zip(*candidates.each(rows, at_input), strict=True)
    return np.stack(sources), np.stack(images)


def _flip_rate(evaluation: Evaluation, candidates: Counterfactuals, kept: Rows) -> dict[str, Any] | None:
    """Flip rate over at most `FLIP_PAIRS` kept pairs. The retrained classifier was trained on them, apart from the
    held-out ones."""
    if not len(kept):
        return None
    followed: dict[str, list[bool]] = {when: [] for when in evaluation.loaded}
    ordered = np.sort(kept[:FLIP_PAIRS])  # patches are read fastest in the order of the table
    for start in range(0, len(ordered), evaluation.batch_size):
        rows = ordered[start : start + evaluation.batch_size]
        pairs = _pairs(evaluation, candidates, rows)
        labels = candidates.from_labels[rows], candidates.to_labels[rows]
        for when, one in evaluation.loaded.items():
            followed[when] += follows(one.classifier, *pairs, *labels, evaluation.runtime).tolist()
    return {**{when: float(np.mean(values)) for when, values in followed.items()}, "pairs": len(ordered)}


def _reliance(evaluation: Evaluation, tables: Tables) -> dict[str, Any] | None:
    """Shortcut reliance on segmented source images; None where there are none."""
    masks = tables.table("segment", ["id", "status"])
    usable: list[str] = masks.filter(pc.equal(masks["status"], OK))["id"].to_pylist()
    ids = sorted(usable, key=_hash)[:RELIANCE_IMAGES]
    if not ids:
        return None
    labels = evaluation.dataset.samples["label"].to_numpy()[[evaluation.dataset.rows[item] for item in ids]]
    objects = tables.payload("segment", "object_mask", ids)
    inside = np.stack([evaluation.preprocessing.mask(read_mask(mask)) for mask in objects])
    pixels = evaluation.pixels(ids)
    shares = {
        when: reliance(one.classifier, pixels, inside, labels, evaluation.runtime)
        for when, one in evaluation.loaded.items()
    }
    return {**shares, "images": len(ids), "area_outside": float(1 - inside.mean())}


def _leak(evaluation: Evaluation, candidates: Counterfactuals, kept: Rows) -> dict[str, Any] | None:
    """The leak test on ERM features: the probe is fitted to half of the pairs (split by source) and applied to the
    other half and to training images that are not among its sources. None where there are too few pairs."""
    rows = kept[:PROBE_PAIRS]
    sources = [candidates.source_ids[row] for row in rows.tolist()]
    teach = np.array([int(_hash(item)[:2], 16) % 2 == 0 for item in sources], bool)
    if min(teach.sum(), (~teach).sum()) < PROBE_LEAST:
        return None
    real, made = (evaluation.features(pixels) for pixels in _pairs(evaluation, candidates, rows))
    probe = leak.fit_probe(real[teach], made[teach])
    samples, where = evaluation.dataset.samples, evaluation.dataset.rows
    train = sorted(set(evaluation.dataset.split("train")["id"].to_pylist()) - set(sources), key=_hash)[:PROBE_IMAGES]
    others = [where[item] for item in train]
    origin = np.array([where[item] for item in sources])[~teach]
    attributes = codes(samples["attribute"])
    unseen = probe(evaluation.features(evaluation.pixels(train))) if train else np.empty(0)
    by_attribute = leak.label_leak(
        np.concatenate([unseen, probe(made[~teach])]),
        np.concatenate([samples["label"].to_numpy()[others], candidates.to_labels[rows][~teach]]),
        np.concatenate([attributes[others], attributes[origin]]),
    )
    leaks = any(row["label_auroc"] > leak.LEAKS_ABOVE for row in by_attribute)
    auroc = leak.detection(probe, real[~teach], made[~teach])
    return {"auroc": auroc, "pairs": len(rows), "by_attribute": by_attribute, "leaks": leaks}


def _hash(item: str) -> str:
    return hashlib.sha256(item.encode()).hexdigest()
