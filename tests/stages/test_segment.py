"""Segment: the plan, the columns of a row, and images and masks that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddb.backends import Failed, Found, Image
from ddb.config import SegmentConfig, inpaint_config, segment_config
from ddb.data.images import mask_png, read_mask
from ddb.data.table import Dataset
from ddb.errors import StageFailed
from ddb.records import PREDICTIONS
from ddb.stage import Stage
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
def folder(run_folder: Any, squares: Dataset) -> Any:
    run_folder.tables["erm"] = ranked(squares)
    return run_folder


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


def stage_of(folder: Any, dataset: Dataset, own: SegmentConfig, painting: Any = PAINT) -> Stage:
    return segment.stage(folder.context(dataset), own, painting, {})


def test_the_majority_is_segmented_and_rows_hold_mask_and_region(squares: Dataset, folder: Any, masks: Path) -> None:
    table = folder.run(stage_of(folder, squares, settings(masks)), batch_size=3)
    train = [row for row in squares.samples.to_pylist() if row["split"] == "train"]
    lowest = [[row["id"] for row in train if row["label"] == label][-5:][::-1] for label in (0, 1)]
    assert table["id"].to_pylist() == lowest[0] + lowest[1]
    row = table.to_pylist()[0]
    assert read_mask(row["object_mask"]).sum() == 256
    assert read_mask(row["mask"])[6:26, 6:26].all()
    assert read_mask(row["mask"]).sum() == 400
    assert row["area"] == pytest.approx(400 / 1024)
    assert (row["status"], row["error"], row["score"]) == ("ok", "", 1.0)


def test_each_class_may_have_a_number_of_its_own(squares: Dataset, folder: Any, masks: Path) -> None:
    painting = PAINT.model_copy(update={"per_class": (2, 0)})
    ids = stage_of(folder, squares, settings(masks), painting).plan(folder)
    labels = dict(zip(squares.samples["id"].to_pylist(), squares.samples["label"].to_pylist(), strict=True))
    assert [labels[name] for name in ids] == [0, 0]


def test_an_unusable_mask_is_a_result_with_a_reason(squares: Dataset, folder: Any, masks: Path) -> None:
    (masks / "train_047.png").write_bytes(mask_png(np.zeros((32, 32), np.bool_)))
    table = folder.run(stage_of(folder, squares, settings(masks, max_area=0.5)))
    by_id = {row["id"]: row for row in table.to_pylist()}
    assert (by_id["train_047.png"]["status"], by_id["train_047.png"]["error"]) == ("no_mask", "no square found")
    assert by_id["train_046.png"]["status"] == "ok"


def test_missing_and_bad_masks_are_rows_of_their_own(squares: Dataset, folder: Any, masks: Path) -> None:
    (masks / "train_045.png").unlink()
    (masks / "train_046.png").write_bytes(mask_png(np.ones((31, 32), np.bool_)))
    table = folder.run(stage_of(folder, squares, settings(masks)))
    rows = {row["id"]: (row["status"], row["error"]) for row in table.to_pylist()}
    assert rows["train_045.png"] == ("no_mask", "no mask is given: train_045.png")
    assert rows["train_046.png"][0] == "error" and "train_046.png is 32x31, its image 32x32" in rows["train_046.png"][1]
    assert [status for status, _ in rows.values()].count("ok") == 8


@pytest.mark.parametrize("kind", ["empty", "too large"])
def test_masks_that_are_all_unusable_stop_the_run(squares: Dataset, folder: Any, masks: Path, kind: str) -> None:
    own = settings(masks) if kind == "empty" else settings(masks, max_area=0.3)
    if kind == "empty":
        for path in masks.iterdir():
            path.write_bytes(mask_png(np.zeros((32, 32), np.bool_)))
    found = {"empty": "10 no_mask", "too large": "10 too_large"}[kind]
    with pytest.raises(StageFailed, match=rf"none of 10 images has a usable region \({found}\).*--preview"):
        folder.run(stage_of(folder, squares, own))


def test_an_unreadable_image_is_an_error_row_and_the_others_go_on(
    squares: Dataset, folder: Any, masks: Path, tmp_path: Path
) -> None:
    broken = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    (broken.root / "train_046.png").write_bytes(b"gone")
    rows = {r["id"]: r for r in folder.run(stage_of(folder, broken, settings(masks))).to_pylist()}
    assert rows["train_046.png"]["status"] == "error"
    assert "train_046.png" in rows["train_046.png"]["error"]
    assert [row["status"] for row in rows.values()].count("ok") == 9
    assert len(folder.log) == 1 and "Traceback" in folder.log[0]


@dataclass
class Finder:
    """A segmenter whose masks grow with an image's brightness; it remembers what it was given, slot by slot."""

    failing: str = ""
    seen: list[list[str]] = field(default_factory=list)
    identity: str = "finder"

    def segment(
        self, ids: Sequence[str], images: Sequence[Image | Failed], phrase: str, batch_size: int
    ) -> list[Found | Failed]:
        self.seen.append(["" if isinstance(image, Failed) else name for name, image in zip(ids, images, strict=True)])
        assert batch_size == 3
        return [self._found(*pair) for pair in zip(ids, images, strict=True)]

    def _found(self, name: str, image: Image | Failed) -> Found | Failed:
        if isinstance(image, Failed):
            return image
        if name == self.failing:
            return Failed("its mask is not finite")
        mask = np.zeros(image.shape[:2], np.bool_)
        mask[6 : 8 + int(image.mean()) % 16, 6:20] = True
        return Found(mask, 0.5)


def test_a_row_that_fails_is_repeated_alone_in_its_own_slot(
    squares: Dataset, folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = Finder()
    monkeypatch.setattr(segment, "open_segmenter", lambda *_: finder)
    own = segment_config(weights="pocket", min_area=0, max_area=1)
    broken = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    stage = stage_of(folder, broken, own)
    whole = folder.rows(stage, batch_size=3)
    ids = [row["id"] for row in whole]
    finder.failing, finder.seen = ids[1], []
    content = (broken.root / ids[5]).read_bytes()
    (broken.root / ids[5]).write_bytes(b"gone")
    rows = folder.rows(stage, batch_size=3)
    assert [row["id"] for row in rows if row["status"] == "error"] == [ids[1], ids[5]]
    assert finder.seen == [ids[:3], [ids[3], ids[4], ""], ids[6:9], ids[9:]], (
        "one call a batch, a blank for what failed"
    )
    assert [row for row in rows if row["status"] != "error"] == [whole[n] for n in range(10) if n not in (1, 5)]
    finder.failing, finder.seen = "", []
    (broken.root / ids[5]).write_bytes(content)
    assert folder.rows(stage, batch_size=3, left={ids[1], ids[5]}) == [whole[1], whole[5]]
    assert finder.seen == [["", ids[1], ""], ["", "", ids[5]]]


def test_more_sources_do_not_change_what_decides_a_mask(squares: Dataset, folder: Any, masks: Path) -> None:
    few = stage_of(folder, squares, settings(masks))
    many = stage_of(folder, squares, settings(masks), PAINT.model_copy(update={"per_class": 9}))
    assert few.content == many.content
    assert few.extent != many.extent
    assert len(few.plan(folder)) < len(many.plan(folder))
