"""Another setting computes beside what is there, going back costs nothing, and each need says what becomes stale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_stages as toy

from ddb.engine import journal
from ddb.engine.runner import Policy
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import ModelError, StageFailed
from ddb.stage import Batch, Fixed, Need, Stage

Asked = list[list[str | None]]


@pytest.fixture(autouse=True)
def _part_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.buffer, "PART_SECONDS", 0.0)


def stop_at_8(batch: Batch) -> None:
    if "8" in batch:
        raise ModelError("out of patience")


def ids(asked: Asked) -> list[str]:
    return [name for batch in asked for name in batch if name is not None]


def test_another_content_computes_beside_and_going_back_costs_nothing(tmp_path: Path) -> None:
    first = toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    before, folders = toy.tree(tmp_path), {name: first.folder(name) for name in toy.NAMES}
    other = toy.run(tmp_path, toy.numbers(factor=2), toy.squares(), toy.total())
    assert other.table("squares")["square"].to_pylist() == [4 * n * n for n in range(10)]
    assert (other.folder("total") / "total.txt").read_text() == str(4 * 285)
    assert all(other.folder(name) != folders[name] for name in toy.NAMES)
    after = toy.tree(tmp_path)
    assert {name: after[name] for name in before if name != "current.json"} == {
        name: digest for name, digest in before.items() if name != "current.json"
    }
    asked: Asked = []
    back = toy.run(tmp_path, toy.numbers(asked=asked), toy.squares(asked=asked), toy.total(asked))
    assert asked == []
    assert back.table("squares")["square"].to_pylist() == [n * n for n in range(10)]
    assert {name: back.folder(name) for name in toy.NAMES} == folders
    assert toy.tree(tmp_path)["current.json"] == before["current.json"]


def test_rows_of_a_killed_stage_are_not_mixed_with_other_settings(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop_at_8))
    workspace = toy.run(tmp_path, toy.numbers(factor=3))
    assert workspace.table("numbers")["value"].to_pylist() == [3 * n for n in range(10)]
    asked: Asked = []
    toy.run(tmp_path, toy.numbers(asked=asked))
    assert ids(asked) == ["8", "9"]


def test_another_schema_is_another_result(tmp_path: Path) -> None:
    first = toy.run(tmp_path, toy.numbers())
    stage = toy.numbers()
    workspace = toy.run(tmp_path, replace(stage, schema=stage.schema.remove(3)))
    assert workspace.table("numbers").column_names == ["id", "value", "slot", "status", "error"]
    assert workspace.folder("numbers") != first.folder("numbers")


def test_another_batch_size_is_the_same_result(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    before, asked = toy.tree(tmp_path), []
    stages = toy.numbers(batch_size=7, asked=asked), toy.squares(), toy.total()
    toy.run(tmp_path, *stages, fixed=replace(toy.HERE, threads=8))
    assert asked == []
    assert toy.tree(tmp_path) == before


def test_a_resumed_stage_goes_on_with_batch_size_and_threads_of_its_plan(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        toy.run(tmp_path / "a", toy.numbers(count=14, before=stop_at_8))
    asked: Asked = []
    notes, opened = toy.Notes(), []
    stage = toy.numbers(count=14, asked=asked, batch_size=3)
    work = stage.open
    stage = replace(stage, open=lambda *args: (opened.append(args[3]), work(*args))[1])
    workspace = toy.run(tmp_path / "a", stage, fixed=replace(toy.HERE, threads=8), progress=notes)
    assert asked == [["8", "9", "10", "11"], ["12", "13"]]
    assert opened == [replace(toy.HERE, batch_size=4)]
    assert (workspace.plan("numbers") or {})["fixed"]["threads"] == 2
    assert notes.said == ["numbers: goes on as it began (batch_size 3 -> 4, threads 8 -> 2)"]
    toy.run(tmp_path / "b", toy.numbers(count=14))
    assert toy.tree(tmp_path / "a") == toy.tree(tmp_path / "b")


def test_a_stage_without_rows_takes_the_present_batch_size(tmp_path: Path) -> None:
    """So that a batch that does not fit into memory can be made smaller."""

    def stop(batch: Batch) -> None:
        raise ModelError("memory")

    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop))
    asked: Asked = []
    toy.run(tmp_path, toy.numbers(batch_size=5, asked=asked))
    assert [len(batch) for batch in asked] == [5, 5]


def test_a_smaller_extent_puts_rows_aside_and_takes_them_back(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    whole = toy.run(tmp_path / "run", toy.numbers(), toy.squares(), toy.total()).folder("numbers")
    toy.run(large, toy.numbers(), toy.squares(), toy.total())
    toy.run(small, toy.numbers(count=6), toy.squares(), toy.total())
    asked: Asked = []

    def run(count: int) -> Workspace:
        return toy.run(tmp_path / "run", toy.numbers(count, asked=asked), toy.squares(asked=asked), toy.total())

    workspace = run(6)
    assert workspace.folder("numbers") == whole
    assert (whole / "aside.parquet").exists()
    assert workspace.count(whole / "aside.parquet") == 4
    for name in toy.NAMES:
        assert toy.part(workspace, name).read_bytes() == toy.part(Workspace(small, toy.NAMES), name).read_bytes()
    assert (workspace.folder("total") / "total.txt").read_text() == "55"
    workspace = run(8)  # two come back, two stay
    assert workspace.table("numbers")["id"].to_pylist() == [str(n) for n in range(8)]
    assert workspace.count(whole / "aside.parquet") == 2
    workspace = run(10)
    assert asked == []
    for name in toy.NAMES:
        assert toy.part(workspace, name).read_bytes() == toy.part(Workspace(large, toy.NAMES), name).read_bytes()
    assert not (whole / "aside.parquet").exists()
    assert toy.tree(tmp_path / "run")["current.json"] == toy.tree(large)["current.json"]


def test_an_error_that_is_not_planned_is_not_kept(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(failing={"8"}), policy=Policy(max_error_rate=0.2))
    workspace = toy.run(tmp_path, toy.numbers(count=6))
    assert workspace.count(workspace.folder("numbers") / "aside.parquet") == 3
    asked: Asked = []
    toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == [["8", None]]


@pytest.mark.parametrize(
    ("need", "of_content", "of_extent"), [(Need.PLAN, [], 2), (Need.ROWS, None, 2), (Need.TABLE, None, 12)]
)
def test_what_becomes_stale_by_the_kind_of_need(
    tmp_path: Path, need: Need, of_content: list[str] | None, of_extent: int
) -> None:
    """Another content there: all rows, or none where the plan alone reads it. More rows there: those, or all."""
    asked: Asked = []
    toy.run(tmp_path / "a", toy.numbers(), toy.squares(need))
    toy.run(tmp_path / "a", toy.numbers(factor=2), toy.squares(need, asked))
    assert ids(asked) == (of_content if of_content is not None else [str(n) for n in range(10)])
    asked.clear()
    toy.run(tmp_path / "b", toy.numbers(), toy.squares(need))
    workspace = toy.run(tmp_path / "b", toy.numbers(count=12), toy.squares(need, asked))
    assert len(ids(asked)) == of_extent
    assert workspace.table("squares")["square"].to_pylist() == [n * n for n in range(12)]


@pytest.mark.parametrize("changed", [{"device": "cuda"}, {"dtype": "bfloat16"}, {"ddb": "1.1"}], ids=str)
def test_another_environment_is_refused_or_recorded(tmp_path: Path, changed: dict[str, str]) -> None:
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop_at_8))
    elsewhere = replace(toy.HERE, **changed)  # type: ignore[arg-type]
    before = toy.tree(tmp_path)
    key, value = next(iter(changed.items()))
    words = f"{key} {getattr(toy.HERE, key)} -> {value}"
    with pytest.raises(StageFailed, match=rf"began elsewhere \({words}\)") as caught:
        toy.run(tmp_path, toy.numbers(), fixed=elsewhere)
    assert all(way in str(caught.value) for way in ("Go on there", "resume_elsewhere=continue", "another --out"))
    assert toy.tree(tmp_path) == before
    notes = toy.Notes()
    policy = Policy(resume_elsewhere="continue")
    workspace = toy.run(tmp_path, toy.numbers(), fixed=elsewhere, policy=policy, progress=notes)
    assert notes.said == [f"numbers: goes on elsewhere than it began ({words})"]
    assert (workspace.plan("numbers") or {})["fixed"][key] == value
    (event,) = [event for event in journal.events(tmp_path) if event["event"] == "continued"]
    assert (event["stage"], event["why"]) == ("numbers", words)


def test_a_finished_stage_is_not_touched_elsewhere(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares())
    before = toy.tree(tmp_path)
    toy.run(tmp_path, toy.numbers(), toy.squares(), fixed=replace(toy.HERE, device="cuda", ddb="2.0"))
    assert toy.tree(tmp_path) == before


def test_a_reader_never_sees_results_of_different_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every change of a file during a recomputation: a stage is of the old settings, as are all others, or of
    the new ones, or it is not finished."""
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    of_factor: set[int] = set()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        reader = Workspace.at(tmp_path)
        finished = {stage["stage"] for stage in describe(reader)["stages"] if stage["state"] == "finished"}
        factors = set()
        if "numbers" in finished:
            factors.add(reader.table("numbers")["value"][1].as_py())
        if "squares" in finished:
            factors.add({1: 1, 9: 3}[reader.table("squares")["square"][1].as_py()])
        if "total" in finished:
            factors.add({285: 1, 285 * 9: 3}[reader.table("total")["sum"][0].as_py()])
            assert finished == set(toy.NAMES)
        assert len(factors) <= 1
        of_factor.update(factors)

    for name in ("replace", "unlink"):
        real = getattr(toy.os, name)
        monkeypatch.setattr(toy.os, name, lambda *args, _real=real, **more: (look(), _real(*args, **more))[1])
    toy.run(tmp_path, toy.numbers(factor=3), toy.squares(), toy.total())
    look()
    assert of_factor == {1, 3}
    assert looks > 20


def test_a_reader_that_compares_stages_keeps_to_what_was_current(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares())
    reader = Workspace.at(tmp_path).as_now()
    toy.run(tmp_path, toy.numbers(factor=2), toy.squares())
    assert reader.table("numbers")["value"].to_pylist() == list(range(10))
    assert Workspace.at(tmp_path).table("numbers")["value"].to_pylist() == list(range(0, 20, 2))


def test_rows_of_a_waiting_stage_are_known_where_they_do_not_depend_on_what_is_missing(tmp_path: Path) -> None:
    """The plan of a stage may read rows of a later one (refill): they are there while the stage itself is repeated."""
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    workspace, stages = toy.settled(tmp_path, toy.numbers(count=12))
    assert workspace.current("squares") is None
    assert list(workspace.rows("squares")) == [str(n) for n in range(10)]
    assert workspace.rows("total") == {}
    workspace.settle([stages[0], toy.squares(Need.TABLE), stages[2]], write=False)
    assert workspace.rows("squares") == {}


def test_a_stage_chooses_its_values_when_it_begins_and_goes_on_with_them(tmp_path: Path) -> None:
    """A stage that measures the device: the values are stored in the plan, and nothing is measured again."""
    chosen: list[int] = []

    def choose(stage: Stage, planned: int, fixed: Fixed) -> Fixed:
        chosen.append(planned)
        return replace(fixed, batch_size=5, compiled=True)

    def chooser(**facts: Any) -> Stage:
        return replace(toy.numbers(count=14, **facts), chosen=("batch_size", "compiled"))

    with pytest.raises(ModelError):
        toy.run(tmp_path, chooser(before=stop_at_8), choose=choose)
    asked: Asked = []
    workspace = toy.run(tmp_path, chooser(asked=asked), choose=choose)
    fixed = (workspace.plan("numbers") or {})["fixed"]
    assert (fixed["batch_size"], fixed["compiled"]) == (5, True)
    assert asked[-1] == ["10", "11", "12", "13"] and chosen == [14]
    toy.run(tmp_path, chooser(), choose=choose)
    assert chosen == [14], "a finished stage chooses nothing"


def test_a_setting_beside_chosen_values_is_still_told(tmp_path: Path) -> None:
    """A stage that chooses whether to compile, and whose batch size is the user's: what was asked for now is said."""
    with pytest.raises(ModelError):
        toy.run(tmp_path, replace(toy.numbers(count=14, before=stop_at_8), chosen=("compiled",)))
    notes = toy.Notes()
    stage = replace(toy.numbers(count=14, batch_size=3), chosen=("compiled",))
    toy.run(tmp_path, stage, fixed=replace(toy.HERE, compiled=True), progress=notes)
    assert notes.said == ["numbers: goes on as it began (batch_size 3 -> 4)"]
