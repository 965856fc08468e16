"""Resume by row, staleness, failures: the rules of run_stage on toy stages."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import toy_stages as toy

from ddb.engine.runner import Policy, run_stage
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, ModelError, StageFailed, StaleStage
from ddb.stage import Row, Stage


@pytest.fixture(autouse=True)
def _part_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.runner, "PART_SECONDS", 0.0)


def events(workspace: Workspace, kind: str) -> list[str]:
    return [event["stage"] for event in workspace.events() if event["event"] == kind]


def test_rows_come_in_plan_order_in_one_part(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    assert workspace.table("numbers")["value"].to_pylist() == list(range(10))
    assert [path.name for path in workspace.parts("squares")] == ["part-00000.parquet"]
    assert workspace.table("squares")["status"].to_pylist() == ["ok", "odd"] * 5
    assert (tmp_path / "3-total" / "total.txt").read_text() == "285"


def test_a_finished_stage_is_skipped(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    asked: list[list[str]] = []
    workspace = toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == []
    assert events(workspace, "skipped") == ["numbers"]


def test_only_missing_rows_are_computed_in_the_batches_of_an_unbroken_run(tmp_path: Path) -> None:
    def stop(ids: list[str]) -> None:
        if "8" in ids:
            raise ModelError("out of patience")

    with pytest.raises(ModelError):
        toy.run(tmp_path / "a", toy.numbers(count=14, before=stop))
    asked: list[list[str]] = []
    toy.run(tmp_path / "a", toy.numbers(count=14, asked=asked))
    assert asked == [["8", "9", "10", "11"], ["12", "13"]]
    toy.run(tmp_path / "b", toy.numbers(count=14))
    assert toy.tree(tmp_path / "a") == toy.tree(tmp_path / "b")


def test_an_exception_costs_one_row_and_is_tried_again(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers(failing={"5"}), policy=Policy(max_error_rate=0.2))
    rows = {row["id"]: row for row in workspace.table("numbers").to_pylist()}
    assert {name for name, row in rows.items() if row["status"] == "error"} == {"5"}
    assert rows["5"]["error"] == "ValueError: cannot read 5"
    done = workspace.done("numbers")
    assert done is not None
    assert (done.rows, done.errors) == (10, 1)
    asked: list[list[str]] = []
    toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == [["5"]]
    toy.run(tmp_path / "unbroken", toy.numbers())
    assert toy.tree(tmp_path / "1-numbers") == toy.tree(tmp_path / "unbroken" / "1-numbers")


def test_a_mended_row_reaches_the_stages_after_it(tmp_path: Path) -> None:
    stages = toy.squares(), toy.total()
    toy.run(tmp_path, toy.numbers(failing={"5"}), *stages, policy=Policy(max_error_rate=0.2))
    assert (tmp_path / "3-total" / "total.txt").read_text() == "260"
    workspace = toy.run(tmp_path, toy.numbers(), *stages)
    assert (tmp_path / "3-total" / "total.txt").read_text() == "285"
    assert events(workspace, "stale") == ["squares", "total"]


def test_too_many_errors_fail_the_stage_and_keep_the_rows(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"numbers: 2 of 10 rows failed.*1: ValueError: cannot read 1"):
        toy.run(tmp_path, toy.numbers(failing={"1", "2"}), policy=Policy(max_error_rate=0.1))
    workspace = Workspace(tmp_path, toy.NAMES)
    assert workspace.done("numbers") is None
    asked: list[list[str]] = []
    toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == [["1", "2"], ["4", "5", "6", "7"], ["8", "9"]]
    assert events(workspace, "failed") == ["numbers"]


def test_as_many_errors_as_allowed_do_not_fail_it(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers(failing={"1", "2"}), policy=Policy(max_error_rate=0.2))
    assert workspace.done("numbers") is not None


def test_other_settings_make_rows_stale(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares())
    workspace = toy.run(tmp_path, toy.numbers(factor=2), toy.squares())
    assert workspace.table("squares")["square"].to_pylist() == [4 * n * n for n in range(10)]
    assert events(workspace, "stale") == ["numbers", "squares"]
    assert "factor: 1 -> 2" in next(event["why"] for event in workspace.events() if event["event"] == "stale")


def test_stale_rows_are_refused_where_the_settings_forbid_replacing(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares())
    before = toy.tree(tmp_path)
    with pytest.raises(StaleStage, match=r"1-numbers.*factor: 1 -> 2"):
        toy.run(tmp_path, toy.numbers(factor=2), policy=Policy(replace_stale=False))
    assert toy.tree(tmp_path) == before


def test_rows_of_a_killed_stage_are_not_mixed_with_other_settings(tmp_path: Path) -> None:
    def stop(ids: list[str]) -> None:
        if "8" in ids:
            raise ModelError("stop")

    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop))
    workspace = toy.run(tmp_path, toy.numbers(factor=3))
    assert workspace.table("numbers")["value"].to_pylist() == [3 * n for n in range(10)]


def test_rows_without_a_plan_are_stale(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(factor=2))
    (tmp_path / "1-numbers" / "plan.json").unlink()
    workspace = toy.run(tmp_path, toy.numbers(factor=1))
    assert workspace.table("numbers")["value"].to_pylist() == list(range(10))


def test_a_stage_waits_for_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="squares needs the results of numbers"):
        toy.run(tmp_path, toy.squares())


@pytest.mark.parametrize(("row_needs", "computed_anew"), [((), 12), (("numbers",), 2)])
def test_a_longer_plan_keeps_rows_that_depend_on_single_rows(
    tmp_path: Path, row_needs: tuple[str, ...], computed_anew: int
) -> None:
    toy.run(tmp_path, toy.numbers(count=10), toy.squares(row_needs))
    asked: list[list[str]] = []
    workspace = toy.run(tmp_path, toy.numbers(count=12), toy.squares(row_needs, asked))
    assert sum(map(len, asked)) == computed_anew
    assert workspace.table("squares")["square"].to_pylist() == [n * n for n in range(12)]


def test_a_shorter_plan_drops_rows(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(count=10))
    asked: list[list[str]] = []
    workspace = toy.run(tmp_path, toy.numbers(count=6, asked=asked))
    assert asked == []
    assert workspace.table("numbers")["id"].to_pylist() == [str(n) for n in range(6)]


def test_another_schema_makes_rows_stale(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    stage = toy.numbers()
    workspace = toy.run(tmp_path, replace(stage, schema=stage.schema.remove(2)))
    assert workspace.table("numbers").column_names == ["id", "value", "status", "error"]


def test_a_disk_that_is_full_inside_a_worker_is_no_row_error(tmp_path: Path) -> None:
    def full(ids: list[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DDBError, match="no room left"):
        toy.run(tmp_path, toy.numbers(before=full))


def test_rows_for_other_ids_are_refused(tmp_path: Path) -> None:
    stage = replace(toy.numbers(), open=lambda tables, folder: lambda ids: [])
    with pytest.raises(StageFailed, match="other ids"):
        toy.run(tmp_path, stage)


def test_an_id_planned_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="twice"):
        toy.run(tmp_path, replace(toy.numbers(), plan=lambda tables: ["1", "1"]))


def test_an_empty_plan_gives_an_empty_table(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers(count=0), toy.squares())
    assert workspace.table("squares").num_rows == 0
    assert workspace.done("squares") is not None


def test_another_engine_may_return_batches_in_any_order(tmp_path: Path) -> None:
    def backwards(open_worker: object, batches: object) -> Iterator[list[Row]]:
        worker = open_worker()  # type: ignore[operator]
        yield from (worker(ids) for ids in reversed(list(batches)))  # type: ignore[call-overload]

    def run(stage: Stage) -> None:
        run_stage(Workspace(tmp_path / "b", toy.NAMES), stage, toy.Silent(), engine=backwards)

    toy.run(tmp_path / "a", toy.numbers())
    (tmp_path / "b").mkdir()
    run(toy.numbers())
    assert toy.tree(tmp_path / "a" / "1-numbers") == toy.tree(tmp_path / "b" / "1-numbers")
