"""Inpaint: who is planned, seeds, prompts, donors, and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddb.backends import Found, Painted, Task
from ddb.config import inpaint_config, segment_config
from ddb.data.images import mask_png, read_image, read_mask, read_png
from ddb.data.table import Dataset
from ddb.records import MASKS, PREDICTIONS, TOKENS, candidate_id
from ddb.stages import inpaint

MASKED = segment_config(weights="pocket")
COPY = inpaint_config(backend="copy_paste", feather=1, per_class=4, batch_size=3)


@dataclass
class Recorder:
    """A generator that paints the mask white and remembers its tasks."""

    wants_donor: bool = False
    identity: str = "recorder"
    tasks: list[Task] = field(default_factory=list)

    def paint(self, tasks: Sequence[Task]) -> list[Painted]:
        self.tasks += tasks
        return [Painted(np.where(task.mask[..., None], 255, task.image).astype(np.uint8), task.mask) for task in tasks]


@pytest.fixture
def folder(squares: Dataset, run_folder: Any) -> Any:
    """ERM, masks of the last four training images of each class, no tokens."""
    rows, masks = [], []
    square = np.zeros((32, 32), np.bool_)
    square[8:24, 8:24] = True
    wide = np.zeros_like(square)
    wide[4:28, 4:28] = True
    for n, row in enumerate(squares.samples.to_pylist()):
        if row["split"] == "test":
            continue
        rows.append(
            {"id": row["id"], "label": row["label"], "split": row["split"], "loss": 1 / (n + 1),
             "probabilities": [0.5, 0.5], "correct": True, "status": "ok", "error": ""}
        )  # fmt: skip
        if row["split"] == "train" and n >= 40:
            status = "no_mask" if n == 46 else "ok"
            masks.append(
                {"id": row["id"], "object_mask": mask_png(square), "mask": mask_png(wide), "score": 1.0, "area": 0.5,
                 "status": status, "error": ""}
            )  # fmt: skip
    run_folder.tables["erm"] = pa.Table.from_pylist(rows, schema=PREDICTIONS)
    run_folder.tables["segment"] = pa.Table.from_pylist(masks, schema=MASKS)
    run_folder.tables["invert"] = tokens({})
    return run_folder


def tokens(names: Mapping[int, str]) -> pa.Table:
    rows = [
        {"id": str(label), "label": label, "token": names.get(label, ""), "file": f"t{label}" if label in names else "",
         "representatives": [], "masks": [], "losses": [], "previews": [], "status": "ok", "error": ""}
        for label in (0, 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TOKENS)


def test_usable_sources_of_both_directions_are_planned(squares: Dataset, folder: Any) -> None:
    plan = inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32").plan(folder)
    dark = [candidate_id(f"train_0{n}.png", 1, 0) for n in (44, 42, 40)]  # 46 has no mask
    red = [candidate_id(f"train_0{n}.png", 0, 0) for n in (47, 45, 43, 41)]
    assert plan == dark + red


def test_retries_are_appended_and_planned_once(squares: Dataset, folder: Any) -> None:
    def retry(tables: object) -> list[tuple[str, int]]:
        return [("train_044.png", 1), ("train_044.png", 1), ("train_041.png", 2)]

    first = inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32").plan(folder)
    plan = inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32", retry).plan(folder)
    assert plan == [*first, candidate_id("train_044.png", 1, 1), candidate_id("train_041.png", 0, 2)]


def test_rows_hold_the_image_and_what_made_it(squares: Dataset, folder: Any) -> None:
    table = folder.run(inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32"))
    for row in table.to_pylist():
        source, changed = read_image(squares.root, row["source_id"]), read_mask(row["changed"])
        assert np.array_equal(read_png(row["image"])[~changed], source[~changed])
        assert row["from_label"] == 1 - row["to_label"]
        assert row["from_label"] == int(row["source_id"][6:9]) % 2
        assert (row["status"], row["model"]) == ("ok", "copy_paste")
    red_now = read_png(table.filter(pa.compute.equal(table["to_label"], 1)).to_pylist()[0]["image"])
    assert red_now[12:20, 12:20, 0].min() > 150  # the donor is a red square, the source a dark one


def test_a_row_does_not_depend_on_its_batch_and_seeds_follow_the_run(squares: Dataset, folder: Any) -> None:
    whole = folder.run(inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32"))
    assert folder.run(inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32"), batch_size=1) == whole
    other = folder.run(inpaint.stage(squares, COPY, MASKED, 1, "cpu", "fp32"))
    assert len({*whole["seed"].to_pylist(), *other["seed"].to_pylist()}) == 14


def test_prompts_hold_the_targets_token_or_its_name(
    squares: Dataset, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, opened = Recorder(), {}

    def open_generator(settings: object, device: str, precision: str, files: Mapping[str, Path]) -> Recorder:
        opened.update(files)
        return recorder

    monkeypatch.setattr(inpaint, "open_generator", open_generator)
    folder.tables["invert"] = tokens({1: "<ddb-1>"})
    table = folder.run(inpaint.stage(squares, COPY, MASKED, 0, "cpu", "fp32"))
    assert opened == {"<ddb-1>": folder.folder("invert") / "t1"}
    assert {task.prompt for task in recorder.tasks} == {"a photo of a <ddb-1> square", "a photo of a dark square"}
    assert all(task.donor is None for task in recorder.tasks)
    assert table["prompt"].to_pylist() == [task.prompt for task in recorder.tasks]
    assert [task.seed for task in recorder.tasks] == table["seed"].to_pylist()


@pytest.mark.parametrize(
    ("against", "expected"),
    [("nothing", {""}), ("source", {"a photo of a <ddb-1> square", "a photo of a dark square"})],
)
def test_guidance_leads_away_from_nothing_or_the_sources_class(
    against: str, expected: set[str], squares: Dataset, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(inpaint, "open_generator", lambda *_: recorder)
    folder.tables["invert"] = tokens({1: "<ddb-1>"})
    settings = inpaint_config(against=against, per_class=4)
    folder.run(inpaint.stage(squares, settings, MASKED, 0, "cpu", "fp32"))
    assert {task.against for task in recorder.tasks} == expected
    assert all(task.against != task.prompt for task in recorder.tasks)


def test_words_of_variety_take_turns_and_stay_with_their_source(
    squares: Dataset, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(inpaint, "open_generator", lambda *_: recorder)
    folder.tables["invert"] = tokens({0: "<ddb-0>", 1: "<ddb-1>"})
    settings = inpaint_config(against="source", variety=("tall", "wide", "very small"), per_class=4)
    folder.run(inpaint.stage(squares, settings, MASKED, 0, "cpu", "fp32"))
    words = [task.prompt.removeprefix("a photo of a ").split(" <")[0] for task in recorder.tasks]
    assert set(words) <= set(settings.variety) and len(set(words)) > 1
    for word, task in zip(words, recorder.tasks, strict=True):
        other = 1 - task.to_label
        assert task.prompt == f"a photo of a {word} <ddb-{task.to_label}> square"
        assert task.against == f"a photo of a <ddb-{other}> square"
    first, recorder.tasks = [task.prompt for task in recorder.tasks], []
    again = [("train_044.png", 1)]  # a second variant of the first source
    folder.run(inpaint.stage(squares, settings, MASKED, 0, "cpu", "fp32", lambda _: again), batch_size=1)
    assert [task.prompt for task in recorder.tasks] == [*first, first[0]]


def test_objects_alone_are_pasted_where_that_is_asked_for(
    squares: Dataset, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segmenter that finds four pixels: they and the source's own object turn white, the corners do not."""
    small = np.zeros((32, 32), np.bool_)
    small[25:27, 25:27] = True

    class Finder:
        def segment(self, ids: Sequence[str], images: Sequence[Any], phrase: str) -> list[Found]:
            assert phrase == "square"
            return [Found(small, 1.0) for _ in images]

    monkeypatch.setattr(inpaint, "open_generator", lambda *_: Recorder())
    monkeypatch.setattr(inpaint, "open_segmenter", lambda *_: Finder())
    settings = COPY.model_copy(update={"paste": "objects"})
    own = inpaint.stage(squares, settings, MASKED, 0, "cpu", "fp32")
    rows = folder.run(own).to_pylist()
    object_mask = read_mask(folder.tables["segment"]["object_mask"][0].as_py())
    for row in rows:
        image = read_png(row["image"])
        source = read_image(squares.root, row["source_id"])
        assert (image[object_mask | small] == 255).all()
        assert (image[4:6, 4:6] == source[4:6, 4:6]).all()
        assert (image[~read_mask(row["changed"])] == source[~read_mask(row["changed"])]).all()
    other = inpaint.stage(squares, settings, segment_config(weights="pocket", threshold=0.9), 0, "cpu", "fp32")
    assert own.settings != other.settings
    plain = [inpaint.stage(squares, COPY, one, 0, "cpu", "fp32").settings for one in (MASKED, segment_config())]
    assert plain[0] == plain[1]


@pytest.mark.parametrize("word", ["", "<ddb-0>", "{token}"])
def test_words_of_variety_are_plain_words(word: str) -> None:
    with pytest.raises(ValueError, match="variety"):
        inpaint_config(variety=(word,))


def test_class_names_cannot_pose_as_tokens(squares: Dataset) -> None:
    odd = replace(squares, classes=("<ddb-1>", "sea_gull"))
    assert inpaint.prompt(COPY, "", odd, 0) == "a photo of a ddb-1 square"
    assert inpaint.prompt(COPY, "", odd, 1) == "a photo of a sea gull square"


def test_ids_with_separators_come_apart_again() -> None:
    assert inpaint.split_id(candidate_id("a>1#2/b.png", 3, 4)) == ("a>1#2/b.png", 3, 4)


def test_an_unreadable_source_and_a_class_without_donors_are_error_rows(
    squares: Dataset, folder: Any, tmp_path: Path
) -> None:
    broken = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    (broken.root / "train_044.png").write_bytes(b"gone")
    masks = folder.tables["segment"].to_pylist()
    for row in masks:
        row["status"] = "ok" if row["id"] in ("train_044.png", "train_042.png") else "no_mask"
    folder.tables["segment"] = pa.Table.from_pylist(masks, schema=MASKS)
    rows = {row["id"]: row for row in folder.run(inpaint.stage(broken, COPY, MASKED, 0, "cpu", "fp32")).to_pylist()}
    assert {row["status"] for row in rows.values()} == {"error"}
    assert "train_044.png" in rows["train_044.png>1#0"]["error"]
    assert "no image of class red" in rows["train_042.png>1#0"]["error"]
