"""Stages on the world of squares (tests/squares.py), and the tables that they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ddb.config import ErmConfig
from ddb.data.images import mask_png, png_bytes, read_image
from ddb.data.table import Dataset
from ddb.records import CANDIDATES, MASKS, SAMPLES, VERDICTS, candidate_id
from ddb.stage import Row, Stage
from squares import BOX, SIDE, picture


@dataclass
class RunFolder:
    """`Tables` for a stage under test; `run` does what an engine does, in batches of the asked size."""

    root: Path
    tables: dict[str, pa.Table] = field(default_factory=dict)

    def table(self, stage: str) -> pa.Table:
        return self.tables[stage]

    def folder(self, stage: str) -> Path:
        path = self.root / stage
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, stage: Stage, batch_size: int | None = None) -> pa.Table:
        ids, size = stage.plan(self), batch_size or stage.batch_size
        worker = stage.open(self, self.folder(stage.name))
        rows: list[Row] = []
        for start in range(0, len(ids), size):
            rows += worker(ids[start : start + size])
        assert [row["id"] for row in rows] == ids
        self.tables[stage.name] = pa.Table.from_pylist(rows, schema=stage.schema)
        if stage.finish:
            stage.finish(self, self.folder(stage.name))
        return self.tables[stage.name]


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """48 training (7 of 8 on their usual background), 16 validation and 16 test images; red is class 1."""
    root, rng, rows = tmp_path_factory.mktemp("squares"), np.random.default_rng(0), []
    for split, count in (("train", 48), ("val", 16), ("test", 16)):
        for n in range(count):
            label = n % 2
            attribute = label if (n // 2) % 8 and split == "train" else (n // 2) % 2
            name = f"{split}_{n:03d}.png"
            (root / name).write_bytes(png_bytes(picture(label, attribute, rng)))
            rows.append({"id": name, "image": name, "label": label, "attribute": attribute, "split": split})
    samples = pa.Table.from_pylist(rows, schema=SAMPLES)
    return Dataset(root, samples, ("dark", "red"), ("blue", "green"), "square", (), "squares-fingerprint")


@pytest.fixture
def tiny_erm() -> ErmConfig:
    return ErmConfig(backbone="test_resnet", weights="none", image_size=SIDE, epochs=2, batch_size=16, lr=0.05)


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def paint_squares(folder: RunFolder, dataset: Dataset, sources: Mapping[str, int], *, leak_out: bool = False) -> None:
    """Fill the tables inpaint and segment with true counterfactuals (source id -> target class). `leak_out` changes a
    pixel outside the mask as well."""
    changed = np.zeros((SIDE, SIDE), bool)
    changed[BOX] = True
    rng, rows, masks = np.random.default_rng(1), [], []
    for source, to_label in sources.items():
        image = read_image(dataset.root, source).copy()
        image[BOX][..., 0] = np.uint8(60 + 140 * to_label)
        if leak_out:
            image[0, 0] = 255 - image[0, 0]
        rows.append(
            {
                "id": candidate_id(source, to_label, 0), "source_id": source, "from_label": 1 - to_label,
                "to_label": to_label, "variant": 0, "seed": int(rng.integers(9)), "image": png_bytes(image),
                "changed": mask_png(changed), "prompt": "", "model": "test", "status": "ok", "error": "",
            }
        )  # fmt: skip
        png = mask_png(changed)
        masks.append(
            {"id": source, "object_mask": png, "mask": png, "score": 1.0, "area": 0.25, "status": "ok", "error": ""}
        )
    folder.tables["inpaint"] = pa.Table.from_pylist(rows, schema=CANDIDATES)
    folder.tables["segment"] = pa.Table.from_pylist(masks, schema=MASKS)


def keep_all(folder: RunFolder) -> None:
    """Fill the table prune with verdicts that keep every candidate."""
    ids = folder.table("inpaint")["id"].to_pylist()
    rows = [{"id": item, "keep": True, "reason": "kept", "status": "ok", "error": ""} for item in ids]
    folder.tables["prune"] = pa.Table.from_pylist(rows, schema=VERDICTS)


@pytest.fixture
def painted(run_folder: RunFolder, squares: Dataset) -> RunFolder:
    """The run folder with a counterfactual of every training image, all kept."""
    train = squares.split("train").to_pylist()
    paint_squares(run_folder, squares, {row["id"]: 1 - row["label"] for row in train})
    keep_all(run_folder)
    return run_folder


@pytest.fixture
def paint() -> Callable[..., None]:
    return paint_squares
