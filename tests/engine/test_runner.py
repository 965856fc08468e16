"""Resume by row, slots, failures: the rules of run_stage on toy stages."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import toy_stages as toy

from ddb.context import Models
from ddb.engine import journal
from ddb.engine.progress import Lines
from ddb.engine.runner import Policy
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, ModelError, StageFailed
from ddb.stage import Batch, Fixed, Row, Tables, Worker


@pytest.fixture(autouse=True)
def _part_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.buffer, "PART_SECONDS", 0.0)


def events(workspace: Workspace, kind: str) -> list[str]:
    return [event["stage"] for event in journal.events(workspace.root) if event["event"] == kind]


def stop_at(name: str) -> Callable[[Batch], None]:
    def stop(batch: Batch) -> None:
        if name in batch:
            raise ModelError("out of patience")

    return stop


def test_rows_come_in_plan_order_in_one_part(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    assert workspace.table("numbers")["value"].to_pylist() == list(range(10))
    assert [path.name for path in workspace.folder("squares").glob("part-*")] == ["part-00000.parquet"]
    assert workspace.table("squares")["status"].to_pylist() == ["ok", "odd"] * 5
    assert (workspace.folder("total") / "total.txt").read_text() == "285"


def test_a_finished_stage_is_skipped(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    asked: list[list[str | None]] = []
    workspace = toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == []
    assert events(workspace, "skipped") == ["numbers"]


def test_only_missing_rows_are_computed_in_the_batches_of_an_unbroken_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        toy.run(tmp_path / "a", toy.numbers(count=14, before=stop_at("8")))
    asked: list[list[str | None]] = []
    toy.run(tmp_path / "a", toy.numbers(count=14, asked=asked))
    assert asked == [["8", "9", "10", "11"], ["12", "13"]]
    toy.run(tmp_path / "b", toy.numbers(count=14))
    assert toy.tree(tmp_path / "a") == toy.tree(tmp_path / "b")


def test_a_poisonous_row_costs_no_neighbour(tmp_path: Path) -> None:
    """The others of its batch are computed once more alone, each in its own slot, so their rows are the same."""
    asked: list[list[str | None]] = []
    workspace = toy.run(tmp_path, toy.numbers(failing={"5"}, asked=asked), policy=Policy(max_error_rate=0.2))
    alone = [["4", None, None, None], [None, "5", None, None], [None, None, "6", None], [None, None, None, "7"]]
    assert asked == [["0", "1", "2", "3"], ["4", "5", "6", "7"], *alone, ["8", "9"]]
    rows = {row["id"]: row for row in workspace.table("numbers").to_pylist()}
    assert {name for name, row in rows.items() if row["status"] == "error"} == {"5"}
    assert rows["5"]["error"] == "ValueError: cannot read 5"
    done = workspace.done("numbers")
    assert done is not None
    assert (done.rows, done.errors) == (10, 1)
    log = (tmp_path / "errors.log").read_text()
    assert "stage numbers, row 5\nTraceback" in log
    assert "in work" in log
    assert log.count("Traceback") == 1


def test_a_row_with_an_error_is_tried_again_in_its_slot(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(failing={"5"}), policy=Policy(max_error_rate=0.2))
    asked: list[list[str | None]] = []
    workspace = toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == [[None, "5", None, None]]
    assert workspace.table("numbers")["slot"].to_pylist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    toy.run(tmp_path / "unbroken", toy.numbers())
    assert toy.tree(tmp_path / "1-numbers") == toy.tree(tmp_path / "unbroken" / "1-numbers")


def test_a_mended_row_reaches_the_stages_after_it(tmp_path: Path) -> None:
    stages = toy.squares(), toy.total()
    workspace = toy.run(tmp_path, toy.numbers(failing={"5"}), *stages, policy=Policy(max_error_rate=0.2))
    assert (workspace.folder("total") / "total.txt").read_text() == "260"
    asked: list[list[str | None]] = []
    workspace = toy.run(tmp_path, toy.numbers(), toy.squares(asked=asked), toy.total())
    assert (workspace.folder("total") / "total.txt").read_text() == "285"
    assert asked == [[None, None, "5"]]


def test_too_many_errors_fail_the_stage_and_keep_the_rows(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"numbers: 2 of 10 rows failed.*1: ValueError: cannot read 1") as caught:
        toy.run(tmp_path, toy.numbers(failing={"1", "2"}), policy=Policy(max_error_rate=0.1))
    assert str(tmp_path / "errors.log") in str(caught.value)
    assert Workspace(tmp_path, toy.NAMES).done("numbers") is None
    asked: list[list[str | None]] = []
    workspace = toy.run(tmp_path, toy.numbers(asked=asked))
    assert asked == [[None, "1", "2", None], ["4", "5", "6", "7"], ["8", "9"]]
    assert events(workspace, "failed") == ["numbers"]


def test_messages_call_rows_by_their_titles(tmp_path: Path) -> None:
    stage = replace(toy.numbers(failing={"1", "2"}), title=lambda name: f"<number {name}>")
    with pytest.raises(StageFailed, match=r"First: <number 1>: ValueError: cannot read 1; <number 2>: "):
        toy.run(tmp_path, stage, policy=Policy(max_error_rate=0.1))
    assert "stage numbers, row <number 1>\n" in (tmp_path / "errors.log").read_text()


def test_as_many_errors_as_allowed_do_not_fail_it(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers(failing={"1", "2"}), policy=Policy(max_error_rate=0.2))
    assert workspace.done("numbers") is not None


def test_a_stage_waits_for_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="squares needs the results of numbers"):
        toy.run(tmp_path, toy.squares())


def test_a_disk_that_is_full_inside_a_worker_is_no_row_error(tmp_path: Path) -> None:
    def full(batch: Batch) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DDBError, match="no room left"):
        toy.run(tmp_path, toy.numbers(before=full))


def test_rows_for_other_ids_are_refused(tmp_path: Path) -> None:
    stage = replace(toy.numbers(), open=lambda *_: lambda batch: [])
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
    def backwards(open_worker: Callable[[], Worker], batches: Iterable[Batch]) -> Iterator[list[Row]]:
        worker = open_worker()
        yield from (worker(batch) for batch in reversed(list(batches)))

    toy.run(tmp_path / "a", toy.numbers())
    toy.run(tmp_path / "b", toy.numbers(), engine=lambda stage: backwards)
    assert toy.tree(tmp_path / "a") == toy.tree(tmp_path / "b")


def test_events_say_how_many_rows_were_computed(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop_at("8")))
    workspace = toy.run(tmp_path, toy.numbers())
    (work,) = journal.history(tmp_path)
    assert (work.stage, work.result, work.rows) == ("numbers", workspace.folder("numbers").name, 10)


def test_opening_does_not_count_into_the_rate(tmp_path: Path) -> None:
    """A worker that takes an hour to open (it trains) and two seconds a batch of four."""
    stream, seconds, stage = io.StringIO(), [0.0], toy.numbers(count=8)

    def wait(time: float) -> None:
        seconds[0] += time

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        wait(3600)
        return toy.numbers(count=8, before=lambda batch: wait(2)).open(models, tables, folder, fixed)

    toy.run(tmp_path, replace(stage, open=open_worker), progress=Lines(stream, every=0, now=lambda: seconds[0]))
    assert stream.getvalue().splitlines()[:5] == [
        "numbers: 8 rows planned",
        "numbers: opening",
        "numbers: 4/8 rows (50%), 2.0 rows/s, 0:02 left",
        "numbers: 8/8 rows (100%), 2.0 rows/s, 0:00 left",
        "numbers: finished, 8 of 8 rows, 1:00:04",
    ]
