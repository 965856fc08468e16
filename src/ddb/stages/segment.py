"""Stage 3, segment: the causal part of every image that counterfactuals are made from, and the region to repaint.

Planned: the majority of each class (lowest ERM loss), as many as its largest budget asks for (method.md sections 2, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ddb.backends import Found, Image
from ddb.backends.registry import open_segmenter, segmentation_facts, segmenter_identity
from ddb.config import InpaintConfig, SegmentConfig
from ddb.data.images import mask_png, read_image
from ddb.data.masks import region
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.learn.selection import PerClass, budgets, majority
from ddb.records import ERROR, MASKS
from ddb.stage import Row, Stage, Tables, Worker


def stage(dataset: Dataset, settings: SegmentConfig, painting: InpaintConfig, device: str, precision: str) -> Stage:
    """`painting` says how many sources each class gives (`per_class`)."""
    paths = dict(zip(dataset.samples["id"].to_pylist(), dataset.samples["image"].to_pylist(), strict=True))

    def plan(tables: Tables) -> list[str]:
        return sources(tables, len(dataset.classes), painting.per_class)

    def open_worker(tables: Tables, folder: Path) -> Worker:
        segmenter = open_segmenter(settings, device, precision)

        def work(ids: list[str]) -> list[Row]:
            rows, images = _read(dataset, [paths[name] for name in ids], ids)
            names = [paths[name] for name in images]
            found = segmenter.segment(names, list(images.values()), dataset.phrase)
            rows |= {name: _row(name, one, settings, dataset.phrase) for name, one in zip(images, found, strict=True)}
            return [rows[name] for name in ids]

        return work

    return Stage(
        name="segment",
        schema=MASKS,
        needs=("erm",),
        settings={
            "segment": segmentation_facts(settings),
            "segmenter": segmenter_identity(settings, dataset.split("train")["image"].to_pylist()),
            "phrase": dataset.phrase,
            "precision": precision,
            "data": dataset.fingerprint,
        },
        plan=plan,
        open=open_worker,
        batch_size=settings.batch_size,
    )


def sources(tables: Tables, classes: int, per_class: PerClass) -> list[str]:
    """Ids of the images that counterfactuals are made from: class by class, lowest ERM loss first."""
    predictions = tables.table("erm")
    needed = budgets(predictions, classes, per_class)
    counts = [max([n for (label, _), n in needed.items() if label == own], default=0) for own in range(classes)]
    return [name for label, count in enumerate(counts) for name in majority(predictions, label, count)]


def _read(dataset: Dataset, paths: Sequence[str], ids: Sequence[str]) -> tuple[dict[str, Row], dict[str, Image]]:
    """Images by id, and an error row for each that cannot be read."""
    rows: dict[str, Row] = {}
    images: dict[str, Image] = {}
    for name, path in zip(ids, paths, strict=True):
        try:
            images[name] = read_image(dataset.root, path)
        except DataError as error:
            rows[name] = {"id": name, "status": ERROR, "error": str(error)}
    return rows, images


def _row(name: str, found: Found, settings: SegmentConfig, phrase: str) -> Row:
    if found.error:
        return {"id": name, "status": ERROR, "error": found.error}
    shape = region(found.mask, settings, phrase)
    return {
        "id": name,
        "object_mask": mask_png(found.mask),
        "mask": mask_png(shape.mask),
        "score": found.score,
        "area": float(shape.mask.mean()),
        "status": shape.status,
        "error": found.reason or shape.error,
    }
