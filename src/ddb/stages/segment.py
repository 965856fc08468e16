"""Stage 3, segment: the object mask (causal part) of every source, and the region to repaint.

Planned: the majority of each class (lowest ERM loss), as many as its largest budget asks for (method.md sections 2, 4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ddb.backends import Failed, Found, Image
from ddb.backends.registry import model_names, open_segmenter
from ddb.config import InpaintConfig, SegmentConfig
from ddb.context import Context, Models
from ddb.data.images import mask_png, read_image
from ddb.data.masks import region
from ddb.errors import StageFailed
from ddb.learn.selection import PerClass, budgets, majority
from ddb.records import MASKS, OK
from ddb.stage import Batch, Fixed, Need, Phased, Row, Stage, Tables, Worker
from ddb.stages.slots import Filled, failed_row, filled, given


def stage(context: Context, settings: SegmentConfig, painting: InpaintConfig, content: Mapping[str, object]) -> Stage:
    """A row per source. `painting.per_class` decides the number of sources of each class."""
    dataset = context.dataset
    paths = dict(zip(dataset.samples["id"].to_pylist(), dataset.samples["image"].to_pylist(), strict=True))

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        segmenter = open_segmenter(settings, context, models)

        def read(batch: Batch) -> Filled[Image]:
            return filled(batch, lambda name: read_image(dataset.root, paths[name]))

        def compute(images: Filled[Image]) -> tuple[Filled[Image], list[Found | Failed]]:
            names = ["" if name is None else paths[name] for name in images.batch]
            return images, segmenter.segment(names, given(images.slots), dataset.phrase, fixed.batch_size)

        def rows(segmented: tuple[Filled[Image], list[Found | Failed]]) -> list[Row]:
            images, found = segmented
            return images.rows(lambda slot, name: _row(name, found[slot], settings, dataset.phrase))

        return Phased(read, compute, rows)

    return Stage(
        name="segment",
        schema=MASKS,
        needs={"erm": Need.PLAN},
        content={**content, "data": dataset.identity(["train"])},
        extent={"per_class": painting.per_class},
        plan=lambda tables: sources(tables, len(dataset.classes), painting.per_class),
        open=open_worker,
        batch_size=settings.batch_size,
        finish=_some_usable,
        models=model_names(settings),
    )


def sources(tables: Tables, classes: int, per_class: PerClass) -> list[str]:
    """Ids of the sources: class by class, lowest ERM loss first."""
    predictions = tables.table("erm")
    needed = budgets(predictions, classes, per_class)
    counts = [max([n for (label, _), n in needed.items() if label == own], default=0) for own in range(classes)]
    return [name for label, count in enumerate(counts) for name in majority(predictions, label, count)]


def _some_usable(tables: Tables, folder: Path) -> None:
    """StageFailed where no image has a usable region: nothing could be painted."""
    states = Counter(tables.table("segment", ["status"])["status"].to_pylist())
    if states and not states[OK]:
        found = ", ".join(f"{count} {status}" for status, count in states.most_common())
        raise StageFailed(
            f"stage segment: none of {states.total()} images has a usable region ({found}). Look at some with "
            "`ddb segment --preview 12`; then change data.phrase, segment's thresholds and areas, or its backend."
        )


def _row(name: str, found: Found | Failed, settings: SegmentConfig, phrase: str) -> Row:
    if isinstance(found, Failed):
        return failed_row(name, found)
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
