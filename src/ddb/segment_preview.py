"""`ddb segment --preview N`: what the segmenter makes of a few sources, on one sheet, before a bulk run.

No rows are written; the stage itself starts as if the preview had not been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from ddb.backends import Failed, Found
from ddb.backends.batches import read_or_failed
from ddb.backends.registry import open_segmenter
from ddb.backends.segmenters.weights import BLANK
from ddb.config import RunConfig
from ddb.context import Context, Models
from ddb.data.images import Pixels
from ddb.data.masks import TOO_LARGE, Region, region
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.engine.layout import CURRENT
from ddb.engine.workspace import Workspace
from ddb.errors import DataError
from ddb.learn.seeds import seed_of
from ddb.records import ERROR, OK
from ddb.report.contact_sheet import Look, contact_sheet
from ddb.stages.segment import sources

SHEET = "segment-preview.png"


def preview(config: RunConfig, out: Path, count: int) -> list[str]:
    """Segment `count` sources and write `out`/segment-preview.png. Returns lines for people: the sheet's path, how many
    images came out how, and each reason. DDBError where data, weights or the folder cannot be used."""
    dataset = load_dataset(config.data, out / "cache").without_attributes()
    ids = _chosen(config, dataset, out, count)
    paths = [dataset.samples["image"][dataset.rows[name]].as_py() for name in ids]
    images = [read_or_failed(dataset.root, path) for path in paths]
    context = Context(dataset, config.seed, config.device, config.precision, out / "cache")
    segmenter = open_segmenter(config.segment, context, Models())
    found = segmenter.segment(paths, images, dataset.phrase, config.segment.batch_size)
    looks, statuses = [], Counter[str]()
    for name, image, one in zip(ids, images, found, strict=True):
        label = dataset.classes[dataset.samples["label"][dataset.rows[name]].as_py()]
        if isinstance(one, Failed):
            statuses[ERROR] += 1
            looks.append(_failed_look(name, label, image, one))
            continue
        area = region(one.mask, config.segment, dataset.phrase)
        statuses[area.status] += 1
        looks.append(_look(name, label, image, one, area))
    tally = ", ".join(f"{number} {status}" for status, number in statuses.most_common())
    heading = f"{config.name}: {config.segment.backend}, “{dataset.phrase}”: {tally}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        contact_sheet(looks, heading).save(out / SHEET)
    except OSError as error:
        raise DataError(
            f"{out / SHEET}: cannot be written ({error.strerror or error}). Choose another --out."
        ) from error
    return [str(out / SHEET), tally, *(f"  {look.name}: {look.reason}" for look in looks if look.reason)]


def _failed_look(name: str, label: str, image: Pixels | Failed, one: Failed) -> Look:
    """The image without anything found; a grey square where it cannot be read."""
    pixels = BLANK if isinstance(image, Failed) else image
    nothing = np.zeros(pixels.shape[:2], np.bool_)
    return Look(pixels, (), (), nothing, nothing, title=f"{label}: {ERROR}", reason=one.reason, name=name)


def _look(name: str, label: str, image: Pixels | Failed, one: Found, area: Region) -> Look:
    there_is_one = area.status in (OK, TOO_LARGE)
    return Look(
        image=BLANK if isinstance(image, Failed) else image,
        boxes=[box.box for box in one.boxes],
        scores=[box.score for box in one.boxes],
        object_mask=one.mask,
        region=area.mask if there_is_one else np.zeros_like(one.mask),
        title=f"{label}: {area.status}, score {one.score:.2f}"
        + (f", region {area.mask.mean():.0%}" if there_is_one else ""),
        reason=one.reason or area.error,
        name=name,
    )


def _chosen(config: RunConfig, dataset: Dataset, out: Path, count: int) -> list[str]:
    """As many sources of each class: spread over those that the stage would take, from surest to least sure, where the
    run folder knows them (stage erm is finished); training images drawn with the run's seed elsewhere."""
    planned = _planned(config, dataset, out)
    labels = dataset.samples["label"].to_pylist()
    chosen = []
    for label in range(len(dataset.classes)):
        share = count // len(dataset.classes) + (label < count % len(dataset.classes))
        own = [name for name in planned if labels[dataset.rows[name]] == label]
        if own:
            chosen += _spread(own, share)
            continue
        train = dataset.split("train")
        ids = train.filter(pc.equal(train["label"], label))["id"].to_pylist()
        order = np.random.default_rng(seed_of(config.seed, "preview", label)).permutation(len(ids))
        chosen += [ids[n] for n in sorted(order[:share].tolist())]
    return chosen


def _planned(config: RunConfig, dataset: Dataset, out: Path) -> list[str]:
    """Sources of the run in `out`; none where there is no run, or one of other data."""
    if not (out / CURRENT).is_file() or (workspace := Workspace.at(out)).done("erm") is None:
        return []
    ids = sources(workspace, len(dataset.classes), config.inpaint.per_class)
    return ids if all(name in dataset.rows for name in ids) else []


def _spread(ids: Sequence[str], count: int) -> list[str]:
    """At most `count` of them at even distances, the first and the last among them."""
    positions = np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)
    return [ids[position] for position in positions.tolist()]
