"""Segment: who is planned, what a row says, and what happens to images and masks that cannot be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddb.config import SegmentConfig, inpaint_config, segment_config
from ddb.data.images import mask_png, read_mask
from ddb.data.table import Dataset
from ddb.records import PREDICTIONS
from ddb.stages import segment

PAINT = inpaint_config(backend="copy_paste", per_class=5)


def ranked(dataset: Dataset) -> pa.Table:
    """Predictions whose loss falls with the row number."""
    rows = [
        {"id": row["id"], "label": row["label"], "split": row["split"], "loss": 1 / (n + 1),
         "probabilities": [0.5, 0.5], "correct": True, "status": "ok", "error": ""}
        for n, row in enumerate(dataset.samples.to_pylist()) if row["split"] != "test"
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


@pytest.fixture
def masks(squares: Dataset, tmp_path: Path) -> Path:
    """The true square of every image, in a folder that mirrors the images'."""
    folder = tmp_path / "masks"
    folder.mkdir()
    square = np.zeros((32, 32), np.bool_)
    square[8:24, 8:24] = True
    for name in squares.samples["image"].to_pylist():
        (folder / name).write_bytes(mask_png(square))
    return folder


def settings(masks: Path, **more: object) -> SegmentConfig:
    return segment_config(backend="given", masks=str(masks), expand=1.25, **more)


def test_the_majority_is_segmented_and_rows_hold_mask_and_region(
    squares: Dataset, run_folder: Any, masks: Path
) -> None:
    run_folder.tables["erm"] = ranked(squares)
    table = run_folder.run(segment.stage(squares, settings(masks), PAINT, "cpu", "fp32"), batch_size=3)
    train = [row for row in squares.samples.to_pylist() if row["split"] == "train"]
    lowest = [[row["id"] for row in train if row["label"] == label][-5:][::-1] for label in (0, 1)]
    assert table["id"].to_pylist() == lowest[0] + lowest[1]
    row = table.to_pylist()[0]
    assert read_mask(row["object_mask"]).sum() == 256
    assert read_mask(row["mask"])[6:26, 6:26].all()
    assert read_mask(row["mask"]).sum() == 400
    assert row["area"] == pytest.approx(400 / 1024)
    assert (row["status"], row["error"], row["score"]) == ("ok", "", 1.0)


def test_each_class_may_have_a_number_of_its_own(squares: Dataset, run_folder: Any, masks: Path) -> None:
    run_folder.tables["erm"] = ranked(squares)
    painting = PAINT.model_copy(update={"per_class": (2, 0)})
    ids = segment.stage(squares, settings(masks), painting, "cpu", "fp32").plan(run_folder)
    labels = dict(zip(squares.samples["id"].to_pylist(), squares.samples["label"].to_pylist(), strict=True))
    assert [labels[name] for name in ids] == [0, 0]


def test_an_unusable_mask_is_a_result_with_a_reason(squares: Dataset, run_folder: Any, masks: Path) -> None:
    run_folder.tables["erm"] = ranked(squares)
    (masks / "train_047.png").write_bytes(mask_png(np.zeros((32, 32), np.bool_)))
    table = run_folder.run(segment.stage(squares, settings(masks, max_area=0.5), PAINT, "cpu", "fp32"))
    by_id = {row["id"]: row for row in table.to_pylist()}
    assert (by_id["train_047.png"]["status"], by_id["train_047.png"]["error"]) == ("no_mask", "no square found")
    assert by_id["train_046.png"]["status"] == "ok"
    crowded = run_folder.run(segment.stage(squares, settings(masks, max_area=0.3), PAINT, "cpu", "fp32"))
    assert crowded["status"].to_pylist().count("too_large") == 9


def test_missing_and_bad_masks_are_rows_of_their_own(squares: Dataset, run_folder: Any, masks: Path) -> None:
    run_folder.tables["erm"] = ranked(squares)
    (masks / "train_045.png").unlink()
    (masks / "train_046.png").write_bytes(mask_png(np.ones((31, 32), np.bool_)))
    table = run_folder.run(segment.stage(squares, settings(masks), PAINT, "cpu", "fp32"))
    rows = {row["id"]: (row["status"], row["error"]) for row in table.to_pylist()}
    assert rows["train_045.png"] == ("no_mask", "no mask is given: train_045.png")
    assert rows["train_046.png"][0] == "error" and "train_046.png is 32x31, its image 32x32" in rows["train_046.png"][1]
    assert [status for status, _ in rows.values()].count("ok") == 8


def test_an_unreadable_image_is_an_error_row_and_the_others_go_on(
    squares: Dataset, run_folder: Any, masks: Path, tmp_path: Path
) -> None:
    broken = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    (broken.root / "train_046.png").write_bytes(b"gone")
    run_folder.tables["erm"] = ranked(broken)
    rows = {
        r["id"]: r for r in run_folder.run(segment.stage(broken, settings(masks), PAINT, "cpu", "fp32")).to_pylist()
    }
    assert rows["train_046.png"]["status"] == "error"
    assert "train_046.png" in rows["train_046.png"]["error"]
    assert [row["status"] for row in rows.values()].count("ok") == 9


def test_settings_name_what_decides_the_rows(squares: Dataset, masks: Path) -> None:
    first = segment.stage(squares, settings(masks), PAINT, "cpu", "fp32").settings
    assert first == segment.stage(squares, settings(masks, batch_size=2), PAINT, "cpu", "fp32").settings
    assert first != segment.stage(squares, settings(masks, max_area=0.4), PAINT, "cpu", "fp32").settings
    (masks / "train_047.png").write_bytes(mask_png(np.ones((32, 32), np.bool_)))
    assert first != segment.stage(squares, settings(masks), PAINT, "cpu", "fp32").settings
