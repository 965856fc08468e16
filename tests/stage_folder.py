"""A run folder in memory for stages under test, and counterfactuals on the world of squares (tests/squares.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ddb.context import Context, Models
from ddb.data.counterfactuals import Counterfactuals
from ddb.data.images import Mask, Pixels, mask_png, read_image
from ddb.data.patches import patch_of
from ddb.data.table import Dataset
from ddb.records import CANDIDATES, MASKS, SAMPLES, VERDICTS, candidate_id
from ddb.stage import TRACEBACK, Batch, Fixed, Row, Stage
from squares import BOX, SIDE

GOOD = {"status": "ok", "error": ""}


@dataclass
class RunFolder:
    """`Tables` for a stage under test, in memory; `run` does what an engine does."""

    root: Path
    tables: dict[str, pa.Table] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    """Tracebacks of the rows that failed in the last `rows`."""

    def table(self, stage: str, columns: Sequence[str] | None = None) -> pa.Table:
        table = self.tables[stage]
        plain = [column.name for column in table.schema if not _is_payload(column.type)]
        if refused := [name for name in columns or () if name not in plain]:
            raise ValueError(f"{refused[0]} is a payload column, or none")
        return table.select(list(columns) if columns is not None else plain)

    def payload(self, stage: str, column: str, ids: Sequence[str]) -> Iterator[Any]:
        table = self.tables[stage]
        assert _is_payload(table.schema.field(column).type), f"{column} is no payload"
        where = {name: row for row, name in enumerate(table["id"].to_pylist())}
        return (table[column][where[name]].as_py() for name in ids)

    def folder(self, stage: str) -> Path:
        path = self.root / stage
        path.mkdir(parents=True, exist_ok=True)
        return path

    def context(self, dataset: Dataset, seed: int = 0) -> Context:
        """What a stage is told, on the CPU in float32, with a cache of decoded pixels in this folder."""
        return Context(dataset.without_attributes(), seed, "cpu", "fp32", self.root / "cache")

    def rows(self, stage: Stage, batch_size: int | None = None, left: Collection[str] | None = None) -> list[Row]:
        """The rows of the ids `left` (None: all): batches of the plan, a blank in the slot of every other id."""
        size = batch_size or stage.batch_size
        batches = _batches(stage.plan(self), size, left)
        worker = stage.open(Models(), self, self.folder(stage.name), Fixed(size, "cpu", "float32", 1, "test"))
        rows: list[Row] = []
        for batch in batches:
            made = worker(batch)
            assert [row["id"] for row in made] == [name for name in batch if name is not None]
            rows += made
        self.log = [row.pop(TRACEBACK) for row in rows if TRACEBACK in row]
        return rows

    def run(self, stage: Stage, batch_size: int | None = None) -> pa.Table:
        """Bring a stage to its end; its whole table, payload too."""
        rows = self.rows(stage, batch_size)
        self.tables[stage.name] = pa.Table.from_pylist(rows, schema=stage.schema)
        if stage.finish:
            stage.finish(self, self.folder(stage.name))
        return self.tables[stage.name]


def _is_payload(kind: pa.DataType) -> bool:
    return pa.types.is_large_binary(kind.value_type if pa.types.is_list(kind) else kind)


def _batches(plan: Sequence[str], size: int, left: Collection[str] | None) -> list[Batch]:
    slots = [name if left is None or name in left else None for name in plan]
    batches = [slots[start : start + size] for start in range(0, len(slots), size)]
    return [batch for batch in batches if any(name is not None for name in batch)]


def dataset_of(
    root: Path, rows: Sequence[Row], classes: Sequence[str], attributes: Sequence[str], phrase: str
) -> Dataset:
    """A data set of image files below `root`, with their hashes."""
    samples = pa.Table.from_pylist(list(rows), schema=SAMPLES)
    hashes = {row["id"]: hashlib.sha256((root / row["image"]).read_bytes()).hexdigest() for row in rows}
    return Dataset(root, samples, tuple(classes), tuple(attributes), phrase, (), "squares-fingerprint", hashes=hashes)


def candidate_row(dataset: Dataset, source: str, to_label: int, image: Pixels, changed: Mask) -> Row:
    """A row of stage inpaint: `image` as a patch on its source."""
    original = read_image(dataset.root, source)
    box, patch = patch_of(original, image, changed)
    own = dataset.samples["label"][dataset.rows[source]].as_py()
    return {
        "id": candidate_id(source, to_label, 0), "source_id": source, "source_sha256": dataset.sha256(source),
        "from_label": own, "to_label": to_label, "variant": 0, "seed": 0, "box": list(box),
        "height": original.shape[0], "width": original.shape[1], "patch": patch, "prompt": "", "model": "test", **GOOD,
    }  # fmt: skip


def paint_squares(folder: RunFolder, dataset: Dataset, sources: Mapping[str, int]) -> None:
    """Fill the tables inpaint and segment with true counterfactuals (source id -> target class)."""
    changed = np.zeros((SIDE, SIDE), bool)
    changed[BOX] = True
    rows, masks, png = [], [], mask_png(changed)
    for source, to_label in sources.items():
        image = read_image(dataset.root, source).copy()
        image[BOX][..., 0] = np.uint8(60 + 140 * to_label)
        rows.append(candidate_row(dataset, source, to_label, image, changed))
        masks.append({"id": source, "object_mask": png, "mask": png, "score": 1.0, "area": 0.25, **GOOD})
    folder.tables["inpaint"] = pa.Table.from_pylist(rows, schema=CANDIDATES)
    folder.tables["segment"] = pa.Table.from_pylist(masks, schema=MASKS)


def keep_all(folder: RunFolder) -> None:
    """Fill the table prune with verdicts that keep every candidate."""
    ids = folder.table("inpaint")["id"].to_pylist()
    rows = [{"id": item, "keep": True, "reason": "kept", **GOOD} for item in ids]
    folder.tables["prune"] = pa.Table.from_pylist(rows, schema=VERDICTS)


def images_of(folder: RunFolder, dataset: Dataset) -> dict[str, tuple[Pixels, Mask]]:
    """What the table inpaint stands for: id -> image and where it changed."""
    found = Counterfactuals(folder, dataset)
    return {found.ids[one.row]: (one.image, one.changed) for one in found.images(range(len(found)))}
