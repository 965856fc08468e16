"""Attribution maps, before and after, of test images that retraining repaired or newly broke.

They are computed here, where both classifiers are open, so that the report opens no model; at most `evaluate.maps`
images of each kind have some. A map shows the margin of the image's own class (`learn.shortcuts.margin_attributions`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.data.outcomes import changed
from ddb.learn.attribution import map_png
from ddb.learn.classifier import Pixels
from ddb.learn.device import Runtime
from ddb.learn.shortcuts import margin_attributions

CHANGES = "changes.parquet"
SCHEMA = pa.schema([("id", pa.string()), ("kind", pa.string()), ("before", pa.binary()), ("after", pa.binary())])
"""`kind`: "repaired" or "broken"; maps as grey PNG at the classifier's input size."""


def chosen(outcomes: pa.Table, most: int) -> list[tuple[str, str, int]]:
    """(id, kind, label) of at most `most` images of each kind, a random choice: those with the lowest hashes."""
    labels = dict(zip(outcomes["id"].to_pylist(), outcomes["label"].to_pylist(), strict=True))
    return [
        (name, kind, labels[name])
        for kind, ids in changed(outcomes).items()
        for name in sorted(ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:most]
    ]


def write_maps(
    path: Path,
    images: list[tuple[str, str, int]],
    pixels: Callable[[list[str]], Pixels],
    loaded: Mapping[str, LoadedClassifier],
    runtime: Runtime,
) -> None:
    """Write the maps of `images` (as `chosen` gives them) as a Parquet file with the columns of `SCHEMA`. `pixels`:
    images by id at the classifier's input size, uint8 [N, S, S, 3]; `loaded`: the classifiers before and after."""
    ids, kinds, labels = (list(column) for column in zip(*images, strict=True)) if images else ([], [], [])
    columns: dict[str, list[object]] = {"id": ids, "kind": kinds, "before": [], "after": []}
    for when, one in loaded.items() if images else ():
        found = margin_attributions(one.classifier, pixels(ids), np.array(labels, np.int64), runtime)
        columns[when] = [map_png(attributions) for attributions in found]
    pq.write_table(pa.table(columns, schema=SCHEMA), path)
