"""Inpaint: the plan, seeds, prompts, donors, and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ddb.backends import Failed, Found, Painted, Task
from ddb.config import InpaintConfig, inpaint_config, segment_config
from ddb.data.images import mask_png, read_image, read_mask
from ddb.data.table import Dataset
from ddb.records import MASKS, PREDICTIONS, TOKENS, candidate_id, split_candidate_id
from ddb.stage import Need, Stage
from ddb.stages import inpaint

MASKED = segment_config(weights="pocket")
COPY = inpaint_config(backend="copy_paste", feather=1, per_class=4, batch_size=3)


@dataclass
class Recorder:
    """A generator that paints the mask white and remembers its tasks; `seen`: what lay in the slots of each batch.
    Tasks with a seed in `failing` have no result; those with one in `straying` change a pixel that they should not."""

    wants_donor: bool = False
    identity: str = "recorder"
    tasks: list[Task] = field(default_factory=list)
    seen: list[list[int | None]] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)
    straying: set[int] = field(default_factory=set)

    def prepare(self, tasks: Sequence[Task | Failed]) -> Sequence[Task | Failed]:
        return tasks

    def finish(self, painted: list[Painted | Failed]) -> list[Painted | Failed]:
        return painted

    def paint(self, tasks: Sequence[Task | Failed], batch_size: int) -> list[Painted | Failed]:
        self.tasks += [task for task in tasks if isinstance(task, Task)]
        self.seen.append([task.seed if isinstance(task, Task) else None for task in tasks])
        return [task if isinstance(task, Failed) else self._paint(task) for task in tasks]

    def _paint(self, task: Task) -> Painted | Failed:
        if task.seed in self.failing:
            return Failed("the model's output is not finite")
        image = np.where(task.mask[..., None], 255, task.image).astype(np.uint8)
        if task.seed in self.straying:
            image[0, 0] = 255 - image[0, 0]
        return Painted(image, task.mask)


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


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The generator that the stage opens."""
    own = Recorder()
    monkeypatch.setattr(inpaint, "open_generator", lambda *_: own)
    return own


def tokens(names: Mapping[int, str]) -> pa.Table:
    rows = [
        {"id": str(label), "label": label, "token": names.get(label, ""), "file": f"t{label}" if label in names else "",
         "representatives": [], "masks": [], "losses": [], "status": "ok", "error": ""}
        for label in (0, 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TOKENS)


def stage_of(
    folder: Any, dataset: Dataset, own: InpaintConfig = COPY, seed: int = 0, retry: inpaint.Retry | None = None
) -> Stage:
    return inpaint.stage(folder.context(dataset, seed), own, MASKED, {}, {"per_class": own.per_class}, retry)


def test_usable_sources_of_both_directions_are_planned(squares: Dataset, folder: Any) -> None:
    dark = [candidate_id(f"train_0{n}.png", 1, 0) for n in (44, 42, 40)]  # 46 has no mask
    red = [candidate_id(f"train_0{n}.png", 0, 0) for n in (47, 45, 43, 41)]
    assert stage_of(folder, squares).plan(folder) == dark + red


def test_retries_are_appended_and_planned_once(squares: Dataset, folder: Any) -> None:
    def retry(tables: object) -> list[tuple[str, int]]:
        return [("train_044.png", 1), ("train_044.png", 1), ("train_041.png", 2)]

    first = stage_of(folder, squares).plan(folder)
    plan = stage_of(folder, squares, retry=retry).plan(folder)
    assert plan == [*first, candidate_id("train_044.png", 1, 1), candidate_id("train_041.png", 0, 2)]


def test_rows_hold_the_patch_and_what_made_it(squares: Dataset, folder: Any, rebuilt: Any) -> None:
    table = folder.run(stage_of(folder, squares))
    images = rebuilt(folder, squares)
    for row in table.to_pylist():
        source = read_image(squares.root, row["source_id"])
        image, changed = images[row["id"]]
        assert np.array_equal(image[~changed], source[~changed])
        assert not changed[:4].any() and changed[8:24, 8:24].all()
        left, top, right, bottom = row["box"]
        assert changed[top:bottom, left:right].sum() == changed.sum()
        assert row["from_label"] == 1 - row["to_label"]
        assert row["from_label"] == int(row["source_id"][6:9]) % 2
        assert (row["height"], row["width"], row["source_sha256"]) == (32, 32, squares.hashes[row["source_id"]])
        assert (row["status"], row["model"]) == ("ok", "copy_paste")
    red_now, _ = images[table.filter(pa.compute.equal(table["to_label"], 1))["id"][0].as_py()]
    assert red_now[12:20, 12:20, 0].min() > 150  # the donor is a red square, the source a dark one


def test_a_row_does_not_depend_on_its_batch_and_seeds_follow_the_run(squares: Dataset, folder: Any) -> None:
    whole = folder.run(stage_of(folder, squares))
    assert folder.run(stage_of(folder, squares), batch_size=1) == whole
    other = folder.run(stage_of(folder, squares, seed=1))
    assert len({*whole["seed"].to_pylist(), *other["seed"].to_pylist()}) == 14


def test_prompts_hold_the_targets_token_or_its_name(
    squares: Dataset, folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, opened = Recorder(), {}

    def open_generator(
        settings: object, context: object, models: object, files: Mapping[str, Path], compiled: bool
    ) -> Recorder:
        assert not compiled
        opened.update(files)
        return recorder

    monkeypatch.setattr(inpaint, "open_generator", open_generator)
    folder.tables["invert"] = tokens({1: "<ddb-1>"})
    table = folder.run(stage_of(folder, squares))
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
    against: str, expected: set[str], squares: Dataset, folder: Any, recorder: Recorder
) -> None:
    folder.tables["invert"] = tokens({1: "<ddb-1>"})
    folder.run(stage_of(folder, squares, inpaint_config(against=against, per_class=4)))
    assert {task.against for task in recorder.tasks} == expected
    assert all(task.against != task.prompt for task in recorder.tasks)


def test_words_of_variety_take_turns_and_stay_with_their_source(
    squares: Dataset, folder: Any, recorder: Recorder
) -> None:
    folder.tables["invert"] = tokens({0: "<ddb-0>", 1: "<ddb-1>"})
    settings = inpaint_config(against="source", variety=("tall", "wide", "very small"), per_class=4)
    folder.run(stage_of(folder, squares, settings))
    words = [task.prompt.removeprefix("a photo of a ").split(" <")[0] for task in recorder.tasks]
    assert set(words) <= set(settings.variety) and len(set(words)) > 1
    for word, task in zip(words, recorder.tasks, strict=True):
        other = 1 - task.to_label
        assert task.prompt == f"a photo of a {word} <ddb-{task.to_label}> square"
        assert task.against == f"a photo of a <ddb-{other}> square"
    first, recorder.tasks = [task.prompt for task in recorder.tasks], []
    again = [("train_044.png", 1)]  # a second variant of the first source
    folder.run(stage_of(folder, squares, settings, retry=lambda _: again), batch_size=1)
    assert [task.prompt for task in recorder.tasks] == [*first, first[0]]


def test_objects_alone_are_pasted_where_that_is_asked_for(
    squares: Dataset, folder: Any, recorder: Recorder, rebuilt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segmenter that finds four pixels: they and the source's own object turn white, the corners do not."""
    small = np.zeros((32, 32), np.bool_)
    small[25:27, 25:27] = True

    class Finder:
        def segment(self, ids: Sequence[str], images: Sequence[Any], phrase: str, batch_size: int) -> list[Any]:
            assert phrase == "square"
            return [image if isinstance(image, Failed) else Found(small, 1.0) for image in images]

    monkeypatch.setattr(inpaint, "open_segmenter", lambda *_: Finder())
    table = folder.run(stage_of(folder, squares, COPY.model_copy(update={"paste": "objects"})))
    object_mask = read_mask(folder.tables["segment"]["object_mask"][0].as_py())
    images = rebuilt(folder, squares)
    for row in table.to_pylist():
        image, changed = images[row["id"]]
        source = read_image(squares.root, row["source_id"])
        assert (image[object_mask | small] == 255).all()
        assert not changed[4:6, 4:6].any(), "of the region, what is no object stays the source's"
        assert (image[~changed] == source[~changed]).all()


def test_what_it_needs_of_the_masks() -> None:
    """Copy-paste takes its donors from any row of stage segment; a model reads the source's own row alone."""
    context: Any = type("Any", (), {"dataset": type("Any", (), {"identity": lambda *_: ""})})
    for own, need in ((COPY, Need.TABLE), (inpaint_config(weights="pocket"), Need.ROWS)):
        needs = inpaint.stage(context, own, MASKED, {}, {}).needs
        assert needs == {"erm": Need.PLAN, "segment": need, "invert": Need.TABLE}


@pytest.mark.parametrize("word", ["", "<ddb-0>", "{token}"])
def test_words_of_variety_are_plain_words(word: str) -> None:
    with pytest.raises(ValueError, match="variety"):
        inpaint_config(variety=(word,))


def test_class_names_cannot_pose_as_tokens(squares: Dataset) -> None:
    odd = replace(squares, classes=("<ddb-1>", "sea_gull"))
    assert inpaint.prompt(COPY, {}, odd, 0) == "a photo of a ddb-1 square"
    assert inpaint.prompt(COPY, {}, odd, 1) == "a photo of a sea gull square"


def test_ids_with_separators_come_apart_again() -> None:
    assert split_candidate_id(candidate_id("a>1#2/b.png", 3, 4)) == ("a>1#2/b.png", 3, 4)


def test_an_unreadable_source_and_a_class_without_donors_are_error_rows(
    squares: Dataset, folder: Any, tmp_path: Path
) -> None:
    broken = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    (broken.root / "train_044.png").write_bytes(b"gone")
    masks = folder.tables["segment"].to_pylist()
    for row in masks:
        row["status"] = "ok" if row["id"] in ("train_044.png", "train_042.png") else "no_mask"
    folder.tables["segment"] = pa.Table.from_pylist(masks, schema=MASKS)
    rows = {row["id"]: row for row in folder.run(stage_of(folder, broken)).to_pylist()}
    assert {row["status"] for row in rows.values()} == {"error"}
    assert "train_044.png" in rows["train_044.png>1#0"]["error"]
    assert "no image of class red" in rows["train_042.png>1#0"]["error"]


def test_what_fails_takes_no_neighbour_with_it_and_is_repeated_in_its_own_slot(
    squares: Dataset, folder: Any, recorder: Recorder, tmp_path: Path
) -> None:
    """An unreadable source, a task that the model has no result for, and one whose painting is no patch: three error
    rows with a reason and a traceback. The others keep their bytes and are computed once."""
    broken = replace(squares, root=Path(copytree(squares.root, tmp_path / "images")))
    stage = stage_of(folder, broken)
    whole = folder.rows(stage)
    seeds = [row["seed"] for row in whole]
    recorder.failing, recorder.straying, recorder.seen = {seeds[1]}, {seeds[3]}, []
    gone = broken.root / whole[5]["source_id"]
    content = gone.read_bytes()
    gone.write_bytes(b"gone")
    rows = folder.rows(stage)
    assert [n for n, row in enumerate(rows) if row["status"] == "error"] == [1, 3, 5]
    assert "not finite" in rows[1]["error"] and "outside of the changed region" in rows[3]["error"]
    assert gone.name in rows[5]["error"]
    assert len(folder.log) == 3
    assert recorder.seen == [seeds[:3], [seeds[3], seeds[4], None], seeds[6:]]
    assert [rows[n] for n in (0, 2, 4, 6)] == [whole[n] for n in (0, 2, 4, 6)]
    recorder.failing, recorder.straying, recorder.seen = set(), set(), []
    gone.write_bytes(content)
    left = [whole[n]["id"] for n in (1, 3, 5)]
    assert folder.rows(stage, left=left) == [whole[n] for n in (1, 3, 5)]
    assert recorder.seen == [[None, seeds[1], None], [seeds[3], None, seeds[5]]]
