"""Counterfactuals without a run: photographs on disk, patches on them, and the tables that stages would have left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ddb.data.counterfactuals import Counterfactuals
from ddb.data.images import Mask, Pixels, mask_png, read_image
from ddb.data.patches import patch_of
from ddb.data.table import Dataset
from ddb.records import candidate_id

CANDIDATES = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "source_id", "source_sha256")),
        *((name, pa.int32()) for name in ("from_label", "to_label", "variant")),
        ("seed", pa.int64()),
        ("box", pa.list_(pa.int32())),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("patch", pa.large_binary()),
        *((name, pa.string()) for name in ("prompt", "model", "status", "error")),
    ]
)
GOOD = {"status": "ok", "error": ""}


@dataclass
class FakeTables:
    """`ddb.stage.Tables` over tables in memory; `asked` lists what payload was read, in order."""

    tables: dict[str, pa.Table]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def table(self, stage: str, columns: Sequence[str] | None = None) -> pa.Table:
        table = self.tables[stage]
        plain = [f.name for f in table.schema if f.type != pa.large_binary()]
        assert columns is None or set(columns) <= set(plain), "a payload column was asked for"
        return table.select(list(columns or plain))

    def payload(self, stage: str, column: str, ids: Sequence[str]) -> Iterator[Any]:
        table = self.tables[stage]
        where = {name: row for row, name in enumerate(table["id"].to_pylist())}
        for name in ids:
            self.asked.append((stage, name))
            yield table[column][where[name]].as_py()

    def folder(self, stage: str) -> Path:
        return Path("runs/made") / stage / "f1"


@dataclass
class Made:
    """Counterfactuals and what they have to look like, by id."""

    counterfactuals: Counterfactuals
    tables: FakeTables
    images: dict[str, Pixels]
    changed: dict[str, Mask]


def made(
    dataset: Dataset, per_source: int = 2, split: str = "train", keep: Sequence[bool] = (True, False, True)
) -> Made:
    """`per_source` counterfactuals of every sample of `split`, sources taking turns; random pixels in a random box.
    Verdicts repeat `keep`. The last one failed (status error). Masks of all sources but the last."""
    samples, rng = dataset.split(split).to_pylist(), np.random.default_rng(5)
    rows: list[dict[str, Any]] = []
    images, changed = {}, {}
    for variant in range(per_source):
        for sample in samples:
            source = read_image(dataset.root, sample["image"])
            mask = _region(source.shape[:2], rng)
            painted = source.copy()
            painted[mask] = rng.integers(0, 256, (int(mask.sum()), 3), dtype=np.uint8)
            box, patch = patch_of(source, painted, mask)
            label = (sample["label"] + 1 + variant) % len(dataset.classes)
            name = candidate_id(sample["id"], label, variant)
            images[name], changed[name] = painted, mask
            digest = hashlib.sha256((dataset.root / sample["image"]).read_bytes()).hexdigest()
            rows.append(
                {"id": name, "source_id": sample["id"], "source_sha256": digest, "from_label": sample["label"]}
                | {"to_label": label, "variant": variant, "seed": 2**40 + len(rows), "box": list(box)}
                | {"height": source.shape[0], "width": source.shape[1], "patch": patch, "prompt": "p"}
                | {"model": "+model", **GOOD}
            )
    rows.append({"id": "failed", "source_id": samples[0]["id"], "status": "error", "error": "out of luck"})
    good = rows[:-1]
    verdicts = [
        {"id": row["id"], "keep": keep[n % len(keep)], "reason": "kept" if keep[n % len(keep)] else "psi", **GOOD}
        for n, row in enumerate(good)
    ]
    scores = [{"id": row["id"], "psi_from": 0.25, "rho": -1.5, **GOOD} for row in good]
    masks = [
        {"id": s["id"], "mask": mask_png(np.ones(read_image(dataset.root, s["image"]).shape[:2], bool)), **GOOD}
        for s in samples[:-1]
    ]
    masks.append({"id": samples[-1]["id"], "mask": None, "status": "no_mask", "error": ""})
    head = [("id", pa.string())]
    tail = [("status", pa.string()), ("error", pa.string())]
    tables = FakeTables(
        {
            "inpaint": pa.Table.from_pylist(rows, CANDIDATES),
            "prune": pa.Table.from_pylist(
                verdicts, pa.schema([*head, ("keep", pa.bool_()), ("reason", pa.string()), *tail])
            ),
            "score": pa.Table.from_pylist(
                scores, pa.schema([*head, ("psi_from", pa.float32()), ("rho", pa.float32()), *tail])
            ),
            "segment": pa.Table.from_pylist(masks, pa.schema([*head, ("mask", pa.large_binary()), *tail])),
        }
    )
    return Made(Counterfactuals(tables, dataset), tables, images, changed)


def _region(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    mask = np.zeros(shape, bool)
    top, left = rng.integers(0, shape[0] - 2), rng.integers(0, shape[1] - 2)
    mask[top : top + rng.integers(2, 6), left : left + rng.integers(2, 6)] = True
    return mask
