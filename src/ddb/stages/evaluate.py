"""Stage 8, evaluation: test images under the classifier before (ERM) and after (retrained), and what they tell.

The only stage that sees attributes. Artefact: `metrics.json`: figures `before` and `after` per group, `counts`,
`selection`, and three measures of what the classifier looks at: `flip_rate`, `shortcut_reliance`, `leak`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.config import DataConfig, ErmConfig, EvaluateConfig
from ddb.data.images import read_mask, read_png
from ddb.data.pixel_store import pixel_store
from ddb.data.preprocessing import Preprocessing
from ddb.data.sources.load import load_in_distribution
from ddb.data.table import Dataset
from ddb.learn import leak, metrics, predict
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.shortcuts import follows, reliance
from ddb.records import OK, OUTCOMES, Group
from ddb.stage import Row, Stage, Tables, Worker

METRICS = "metrics.json"
FAMILIAR = "in_distribution"
RELIANCE_IMAGES = 64
PROBE_PAIRS, PROBE_IMAGES, PROBE_LEAST = 512, 1024, 10
"""Most pairs that the leak test uses, most training images that its probe is tried on, fewest pairs on either side."""


@dataclass(frozen=True)
class Bench:
    """What the figures are computed from; `cache` holds the decoded pixels."""

    dataset: Dataset
    classifiers: dict[str, Classifier]
    runtime: Runtime
    batch_size: int
    cache: Path

    @property
    def preprocessing(self) -> Preprocessing:
        return self.classifiers["before"].preprocessing

    def pixels(self, ids: list[str]) -> Pixels:
        return pixel_store(self.dataset, ids, self.preprocessing, self.cache)

    def features(self, pixels: Pixels) -> predict.Floats:
        return predict.features(self.classifiers["before"], pixels, self.runtime, self.batch_size)


def stage(
    dataset: Dataset, settings: EvaluateConfig, data: DataConfig, erm: ErmConfig, device: str, precision: str
) -> Stage:
    """`dataset` with its attributes. Predictions are computed in float32 whatever `precision` says."""
    ids = dataset.split("test")["id"].to_pylist()
    familiar = [f"{FAMILIAR}/{row:06d}" for row in range(settings.in_distribution)]

    def bench(tables: Tables, folder: Path) -> Bench:
        stages = {"before": "erm", "after": "retrain"}
        classifiers = {k: load_classifier(tables.folder(name) / "classifier").classifier for k, name in stages.items()}
        runtime = open_accelerator(device, precision).exact()
        return Bench(dataset, classifiers, runtime, settings.batch_size, folder.parent / "cache")

    def finish(tables: Tables, folder: Path) -> None:
        facts = measure(tables, bench(tables, folder))
        (folder / METRICS).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")

    return Stage(
        name="evaluate",
        schema=OUTCOMES,
        needs=("erm", "segment", "inpaint", "prune", "retrain"),
        settings={
            "evaluate": settings.model_dump(mode="json"),
            "pocket": data.pocket.model_dump(mode="json") if familiar else None,
            "image_size": erm.image_size,
            "data": dataset.fingerprint,
        },
        plan=lambda tables: ids + familiar,
        open=lambda tables, folder: _worker(bench(tables, folder), familiar, data),
        batch_size=settings.batch_size,
        finish=finish,
    )


def _worker(bench: Bench, familiar: list[str], data: DataConfig) -> Worker:
    test = bench.dataset.split("test")
    names: list[str] = test["id"].to_pylist()
    lookup: dict[str, Callable[[], Row]] = {}
    outcomes = partial(_outcomes, bench, "test", names, test["label"].to_pylist(), bench.pixels(names))
    item = predict.in_fixed_chunks(outcomes, len(names), bench.batch_size)
    lookup |= {name: partial(item, row) for row, name in enumerate(names)}
    if familiar:
        drawn = load_in_distribution(data, len(familiar), bench.cache)
        pixels = pixel_store(drawn, drawn.samples["id"].to_pylist(), bench.preprocessing, bench.cache)
        outcomes = partial(_outcomes, bench, FAMILIAR, familiar, drawn.samples["label"].to_pylist(), pixels)
        item = predict.in_fixed_chunks(outcomes, len(familiar), bench.batch_size)
        lookup |= {name: partial(item, row) for row, name in enumerate(familiar)}
    return lambda asked: [lookup[name]() for name in asked]


def _outcomes(
    bench: Bench, split: str, names: list[str], labels: list[int], pixels: Pixels, rows: list[int]
) -> list[Row]:
    found = {
        when: predict.softmax(predict.logits(classifier, pixels[rows], bench.runtime, bench.batch_size))
        for when, classifier in bench.classifiers.items()
    }
    return [
        {"id": names[row], "label": labels[row], "split": split, "status": OK, "error": ""}
        | {when: probabilities[i].tolist() for when, probabilities in found.items()}
        for i, row in enumerate(rows)
    ]


def measure(tables: Tables, bench: Bench) -> dict[str, Any]:
    """All of metrics.json, from the outcomes of this stage and the tables of those before it."""
    outcomes = tables.table("evaluate")
    fit = tables.table("retrain").to_pylist()[0]
    pairs = _kept_pairs(tables)
    return {
        **{when: _figures(bench.dataset, outcomes, when) for when in bench.classifiers},
        "counts": _counts(tables),
        "selection": {name: fit[name] for name in ("selection", "epoch", "value")},
        FAMILIAR: _familiar(outcomes),
        "flip_rate": _flip_rate(bench, pairs),
        "shortcut_reliance": _reliance(bench, tables.table("segment")),
        "leak": _leak(bench, pairs),
        "classes": list(bench.dataset.classes),
        "attributes": list(bench.dataset.attributes),
    }


def _attributes(samples: pa.Table) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = samples["attribute"].fill_null(metrics.UNKNOWN).to_numpy().astype(np.int64)
    return found


def _figures(dataset: Dataset, outcomes: pa.Table, when: str) -> dict[str, Any]:
    rows = outcomes.filter(pc.equal(outcomes["split"], "test"))
    train = dataset.split("train")
    counts = Counter(map(Group, train["label"].to_pylist(), _attributes(train).tolist()))
    probabilities = np.array(rows[when].to_pylist(), np.float64)
    figures = metrics.summarise(probabilities, rows["label"].to_numpy(), _attributes(dataset.split("test")), counts)
    for row in figures["groups"]:
        row["label_name"] = dataset.classes[row["label"]]
        row["attribute_name"] = None if row["attribute"] is None else dataset.attributes[row["attribute"]]
    return figures


def _counts(tables: Tables) -> dict[str, Any]:
    directions = json.loads((tables.folder("prune") / "summary.json").read_text())
    names = ("generated", "pruned_psi", "pruned_rho", "over_budget", "kept")
    return {**{name: sum(row[name] for row in directions) for name in names}, "directions": directions}


def _familiar(outcomes: pa.Table) -> dict[str, Any] | None:
    """Accuracy on images drawn like the training images; None where none were drawn."""
    rows = outcomes.filter(pc.equal(outcomes["split"], FAMILIAR))
    if not len(rows):
        return None
    labels = rows["label"].to_numpy()
    right = {when: np.array(rows[when].to_pylist()).argmax(axis=1) == labels for when in ("before", "after")}
    return {**{when: float(correct.mean()) for when, correct in right.items()}, "n": len(rows)}


def _kept_pairs(tables: Tables) -> pa.Table:
    """Kept candidates, by the hash of their id, so that the first n are a random sample."""
    verdicts, candidates = tables.table("prune"), tables.table("inpaint")
    keep = sorted(verdicts.filter(verdicts["keep"])["id"].to_pylist(), key=_hash)
    columns = candidates.select(["id", "source_id", "from_label", "to_label", "image"])
    return columns.take(pc.index_in(pa.array(keep, pa.string()), columns["id"].combine_chunks()))


def _pair_pixels(bench: Bench, pairs: pa.Table) -> tuple[Pixels, Pixels]:
    """Sources and counterfactuals at the classifier's input size."""
    images = np.stack([bench.preprocessing.square(read_png(image.as_py())) for image in pairs["image"]])
    return bench.pixels(pairs["source_id"].to_pylist()), images


def _flip_rate(bench: Bench, pairs: pa.Table) -> dict[str, Any] | None:
    """The retrained classifier has learned from these pairs, all but the held-out ones."""
    if not len(pairs):
        return None
    followed: dict[str, list[bool]] = {when: [] for when in bench.classifiers}
    for start in range(0, len(pairs), bench.batch_size):
        rows = pairs.slice(start, bench.batch_size)
        sources, images = _pair_pixels(bench, rows)
        labels = rows["from_label"].to_numpy(), rows["to_label"].to_numpy()
        for when, classifier in bench.classifiers.items():
            followed[when] += follows(classifier, sources, images, *labels, bench.runtime).tolist()
    return {**{when: float(np.mean(values)) for when, values in followed.items()}, "pairs": len(pairs)}


def _reliance(bench: Bench, masks: pa.Table) -> dict[str, Any] | None:
    """On segmented source images; None where there are none."""
    usable = masks.filter(pc.equal(masks["status"], OK)).select(["id", "object_mask"]).to_pylist()
    chosen = sorted(usable, key=lambda row: _hash(row["id"]))[:RELIANCE_IMAGES]
    if not chosen:
        return None
    ids = [row["id"] for row in chosen]
    labels = bench.dataset.samples["label"].to_numpy()[[bench.dataset.rows[item] for item in ids]]
    inside = np.stack([bench.preprocessing.mask(read_mask(row["object_mask"])) for row in chosen])
    pixels = bench.pixels(ids)
    shares = {when: reliance(c, pixels, inside, labels, bench.runtime) for when, c in bench.classifiers.items()}
    return {**shares, "images": len(ids), "area_outside": float(1 - inside.mean())}


def _leak(bench: Bench, pairs: pa.Table) -> dict[str, Any] | None:
    """The leak test on ERM features: half of the pairs (by source) teach the probe; the others, and training images
    that it has not seen, try it. None where there are too few pairs."""
    pairs = pairs.slice(0, PROBE_PAIRS)
    sources = pairs["source_id"].to_pylist()
    teach = np.array([int(_hash(item)[:2], 16) % 2 == 0 for item in sources], bool)
    if min(teach.sum(), (~teach).sum()) < PROBE_LEAST:
        return None
    real, made = (bench.features(pixels) for pixels in _pair_pixels(bench, pairs))
    probe = leak.fit_probe(real[teach], made[teach])
    samples, where = bench.dataset.samples, bench.dataset.rows
    train = sorted(set(bench.dataset.split("train")["id"].to_pylist()) - set(sources), key=_hash)[:PROBE_IMAGES]
    rows = [where[item] for item in train]
    origin = np.array([where[item] for item in sources])[~teach]
    attributes = _attributes(samples)
    unseen = probe(bench.features(bench.pixels(train))) if train else np.empty(0)
    by_attribute = leak.label_leak(
        np.concatenate([unseen, probe(made[~teach])]),
        np.concatenate([samples["label"].to_numpy()[rows], pairs["to_label"].to_numpy()[~teach]]),
        np.concatenate([attributes[rows], attributes[origin]]),
    )
    leaks = any(row["label_auroc"] > leak.LEAKS_ABOVE for row in by_attribute)
    auroc = leak.detection(probe, real[~teach], made[~teach])
    return {"auroc": auroc, "pairs": len(pairs), "by_attribute": by_attribute, "leaks": leaks}


def _hash(item: str) -> str:
    return hashlib.sha256(item.encode()).hexdigest()
