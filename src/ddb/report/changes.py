"""Test images that retraining repaired and newly broke: how many in each group, and some of them with attribution
maps."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ddb.data.images import read_png
from ddb.data.outcomes import changed
from ddb.errors import DDBError
from ddb.report.reading import Run
from ddb.report.sources import SourcePictures
from ddb.report.thumbnails import data_uri, heated

MAPS = "changes.parquet"
"""Artefact of stage evaluate."""
COLUMNS = ("id", "label", "split", "before", "after", "status")
SHOWN = 12
"""Images shown of each kind, at most."""


@dataclass(frozen=True)
class ChangedImage:
    """A test image whose prediction changed. Picture fields are data URIs, empty where there is no picture; `before`
    and `after`: predicted class and its probability."""

    path: str
    group: str
    before: str
    after: str
    image: str
    map_before: str
    map_after: str


@dataclass(frozen=True)
class Changes:
    """One kind of change. `count`: of all test images; `groups`: group -> how many of them; `images`: some of them."""

    count: int
    groups: dict[str, int]
    images: list[ChangedImage]


def changes(run: Run, sources: SourcePictures) -> dict[str, Changes]:
    """ "repaired" and "broken"; empty where stage evaluate is not finished."""
    if "evaluate" not in run.finished:
        return {}
    outcomes = run.table("evaluate", COLUMNS)
    maps = _maps(run)
    rows = {row["id"]: row for row in outcomes.to_pylist()}
    found = {}
    for kind, ids in changed(outcomes).items():
        groups = _groups(run, ids)
        shown = sorted((name for name in ids if name in maps or not maps), key=_hash)[:SHOWN]
        pictures, paths = sources.originals("evaluate", shown), run.image_paths(shown)
        images = [
            ChangedImage(
                path=paths.get(name, name),
                group=groups.get(name, ""),
                before=_prediction(run, rows[name]["before"]),
                after=_prediction(run, rows[name]["after"]),
                image=pictures.get(name, ""),
                map_before=_map(maps, name, "before"),
                map_after=_map(maps, name, "after"),
            )
            for name in shown
        ]
        found[kind] = Changes(len(ids), dict(Counter(groups.values()).most_common()), images)
    return found


def _groups(run: Run, ids: Sequence[str]) -> dict[str, str]:
    """Id -> name of the group."""
    samples = run.samples.filter(pc.is_in(run.samples["id"], pa.array(ids, pa.string())))
    return {row["id"]: run.group_name(row["label"], row["attribute"]) for row in samples.to_pylist()}


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _prediction(run: Run, probabilities: Sequence[float]) -> str:
    label = max(range(len(probabilities)), key=lambda k: probabilities[k])
    return f"{run.class_name(label)} ({probabilities[label]:.2f})"


def _map(maps: Mapping[str, Mapping[str, Any]], name: str, when: str) -> str:
    return data_uri(heated(read_png(maps[name][when])[..., 0])) if name in maps else ""


def _maps(run: Run) -> dict[str, dict[str, Any]]:
    """Id -> row of `changes.parquet`; empty where an earlier version of ddb evaluated."""
    path = run.tables.folder("evaluate") / MAPS
    if not path.is_file():
        return {}
    try:
        return {row["id"]: row for row in pq.read_table(path).to_pylist()}
    except (pa.ArrowInvalid, OSError) as error:
        raise DDBError(f"{path}: damaged ({error}). Delete the folder {path.parent} to compute it again.") from error
