"""Stage 5, scores of every candidate under the ERM classifier: psi (what class it sees) and rho (what the repainted
region contributes to the new class), apart from any threshold (method section 6).

rho = sum over the mask of the integrated gradients of f_to from the source x to the counterfactual x'. At the
classifier's own input the mask is every pixel that a repainted pixel can influence; where all pixels outside it are
the source's, the sum is f_to(x') - f_to(x) exactly (`exact`), two forward passes instead of `ig_steps` backward ones.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.backends.classifiers.timm_classifier import load_classifier
from ddb.config import ErmConfig, ScoreConfig
from ddb.data.images import png_bytes, read_mask, read_png
from ddb.data.pixel_store import pixel_store
from ddb.data.preprocessing import Preprocessing
from ddb.data.table import Dataset
from ddb.learn import predict
from ddb.learn.attribution import Integral, Masks, integrated_gradients, output_change
from ddb.learn.classifier import Classifier, Pixels
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.halving import BatchSize
from ddb.records import OK, SCORES
from ddb.stage import Row, Stage, Tables, Worker

SMALLER = "lower erm.image_size, or free the device"


@dataclass(frozen=True)
class Pairs:
    """A chunk at the classifier's input size: sources and counterfactuals [N, S, S, 3], labels [N], `masks` [N, S, S]:
    what may differ, `areas` [N]: share of the image that does, at its own size."""

    sources: Pixels
    images: Pixels
    masks: Masks
    areas: list[float]
    from_labels: npt.NDArray[np.int64]
    to_labels: npt.NDArray[np.int64]


def stage(dataset: Dataset, settings: ScoreConfig, erm: ErmConfig, device: str, precision: str) -> Stage:
    """Rows for all candidates with status ok. Scores are computed in float32 whatever `precision` says."""

    def open_worker(tables: Tables, folder: Path) -> Worker:
        classifier = load_classifier(tables.folder("erm") / "classifier").classifier
        runtime = open_accelerator(device, precision).exact()
        candidates = _painted(tables)
        return _worker(dataset, settings, classifier, runtime, candidates, folder.parent / "cache")

    return Stage(
        name="score",
        schema=SCORES,
        needs=("erm", "inpaint"),
        settings={"score": settings.model_dump(mode="json"), "image_size": erm.image_size, "data": dataset.fingerprint},
        plan=lambda tables: _painted(tables)["id"].to_pylist(),
        open=open_worker,
        batch_size=settings.batch_size,
        row_needs=("inpaint",),
    )


def _painted(tables: Tables) -> pa.Table:
    rows = tables.table("inpaint")
    return rows.filter(pc.equal(rows["status"], OK))


def _worker(
    dataset: Dataset, settings: ScoreConfig, classifier: Classifier, runtime: Runtime, candidates: pa.Table, cache: Path
) -> Worker:
    ids = candidates["id"].to_pylist()
    where = {item: row for row, item in enumerate(ids)}
    shown = _shown(candidates, settings.maps)

    def compute(rows: list[int]) -> list[Row]:
        own = candidates.take(rows).to_pylist()
        pairs = _load(dataset, own, classifier.preprocessing, cache)
        mapped = np.array([row["id"] in shown for row in own])
        return _score(own, pairs, mapped, settings, classifier, runtime)

    item = predict.in_fixed_chunks(compute, len(ids), settings.batch_size)
    return lambda asked: [item(where[name]) for name in asked]


def _score(
    rows: list[Row],
    pairs: Pairs,
    mapped: npt.NDArray[np.bool_],
    settings: ScoreConfig,
    classifier: Classifier,
    runtime: Runtime,
) -> list[Row]:
    both = np.concatenate([pairs.sources, pairs.images])
    outputs = predict.logits(classifier, both, runtime, settings.batch_size)
    before, after = outputs[: len(rows)], outputs[len(rows) :]
    kept_outside = ((pairs.sources == pairs.images).all(axis=3) | pairs.masks).all(axis=(1, 2))
    closed = kept_outside if settings.method == "auto" else np.full(len(rows), settings.method == "exact")
    rho = output_change(before, after, pairs.to_labels, settings.output)
    integrate = np.flatnonzero(~closed | mapped)
    maps: dict[int, npt.NDArray[np.float32]] = {}
    if len(integrate):
        found = integrated_gradients(
            classifier, pairs.sources[integrate], pairs.images[integrate], pairs.to_labels[integrate], runtime,
            Integral(settings.ig_steps, settings.output, BatchSize(settings.batch_size, "score.batch_size", SMALLER)),
        )  # fmt: skip
        maps = dict(zip(integrate.tolist(), found, strict=True))
    for i in np.flatnonzero(~closed).tolist():
        rho[i] = float(maps[i][pairs.masks[i]].sum(dtype=np.float64))
    psi, psi_source = predict.softmax(after), predict.softmax(before)
    return [
        {
            "id": row["id"],
            "psi_from": float(psi[i, pairs.from_labels[i]]),
            "psi_to": float(psi[i, pairs.to_labels[i]]),
            "psi_from_source": float(psi_source[i, pairs.from_labels[i]]),
            "rho": float(rho[i]),
            "exact": bool(closed[i] and kept_outside[i]),
            "area": pairs.areas[i],
            "attribution": _map_png(maps[i]) if mapped[i] else None,
            "status": OK,
            "error": "",
        }
        for i, row in enumerate(rows)
    ]


def _load(dataset: Dataset, rows: list[Row], preprocessing: Preprocessing, cache: Path) -> Pairs:
    changed = [read_mask(row["changed"]) for row in rows]
    return Pairs(
        sources=pixel_store(dataset, [row["source_id"] for row in rows], preprocessing, cache),
        images=np.stack([preprocessing.square(read_png(row["image"])) for row in rows]),
        masks=np.stack([preprocessing.mask(mask) for mask in changed]),
        areas=[float(mask.mean()) for mask in changed],
        from_labels=np.array([row["from_label"] for row in rows], np.int64),
        to_labels=np.array([row["to_label"] for row in rows], np.int64),
    )


def _shown(candidates: pa.Table, count: int) -> set[str]:
    """Ids that get an attribution map: `count` first variants of each direction, by the hash of their id."""
    directions: dict[tuple[int, int], list[str]] = defaultdict(list)
    for row in candidates.select(["id", "from_label", "to_label", "variant"]).to_pylist():
        if row["variant"] == 0:
            directions[row["from_label"], row["to_label"]].append(row["id"])
    return {item for ids in directions.values() for item in sorted(ids, key=_hash)[:count]}


def _hash(item: str) -> str:
    return hashlib.sha256(item.encode()).hexdigest()


def _map_png(attributions: npt.NDArray[Any]) -> bytes:
    """|attribution| at the classifier's input size as a grey PNG, its largest value 255."""
    size = np.abs(attributions)
    return png_bytes(np.rint(size * (255 / max(float(size.max()), 1e-12))).astype(np.uint8))
