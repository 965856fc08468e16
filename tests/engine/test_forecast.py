"""What is about to be computed, why, and how long it took: said before it starts, and nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import toy_stages as toy

from ddb.engine.forecast import Outlook, forecast, in_words
from ddb.engine.runner import Policy
from ddb.errors import ModelError
from ddb.stage import Batch, Need, Stage


def outlooks(root: Path, *stages: Stage) -> dict[str, Outlook]:
    workspace, all_stages = toy.settled(root, *stages)
    return {one.stage: one for one in forecast(workspace, all_stages)}


def words(root: Path, *stages: Stage) -> list[str]:
    return in_words(list(outlooks(root, *stages).values()))


def took(root: Path, seconds: dict[str, float]) -> None:
    """Have the stages' events say that they took so long."""
    lines = [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]
    changed = [{**one, "seconds": seconds[one["stage"]]} if one["event"] == "finished" else one for one in lines]
    (root / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in changed))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    took(tmp_path, {"numbers": 100.0, "squares": 50.0, "total": 7.0})
    return tmp_path


def test_a_first_run(tmp_path: Path) -> None:
    assert words(tmp_path) == [
        "numbers: 10 of 10 rows to compute",
        "squares: after numbers",
        "total: after squares",
    ]
    assert not any(tmp_path.iterdir())


def test_nothing_changed(finished: Path) -> None:
    assert words(finished) == ["kept: numbers, squares, total"]
    assert all(one.kept and one.left == 0 for one in outlooks(finished).values())


def test_a_changed_setting_is_named_with_the_time_of_the_last_time(finished: Path) -> None:
    before = toy.tree(finished)
    assert words(finished, toy.numbers(factor=2)) == [
        "numbers: 10 of 10 rows to compute, about 1:40 at the pace of last time "
        "(changed: factor 1 -> 2; the results before stay)",
        "squares: after numbers, about 0:50 at the pace of last time "
        "(what it is made from changes; the results before stay)",
        "total: after squares, about 0:07 at the pace of last time "
        "(what it is made from changes; the results before stay)",
    ]
    assert toy.tree(finished) == before
    assert words(finished, toy.squares(power=3))[:2] == [
        "kept: numbers",
        "squares: 10 of 10 rows to compute, about 0:50 at the pace of last time "
        "(changed: power 2 -> 3; the results before stay)",
    ]


def test_going_back_is_kept(finished: Path) -> None:
    toy.run(finished, toy.numbers(factor=2), toy.squares(), toy.total())
    assert words(finished) == ["kept: numbers, squares, total"]


def test_a_setting_that_was_begun_without_a_row_is_not_compared_with_itself(finished: Path) -> None:
    def stop(batch: Batch) -> None:
        raise ModelError("stop")

    with pytest.raises(ModelError):
        toy.run(finished, toy.numbers(factor=2, before=stop))
    assert outlooks(finished, toy.numbers(factor=2))["numbers"].why == (
        "changed: factor 1 -> 2; the results before stay"
    )


def test_a_grown_extent(finished: Path) -> None:
    one = outlooks(finished, toy.numbers(count=12))["numbers"]
    assert (one.planned, one.left, one.why) == (12, 2, "10 are there already")
    assert one.seconds == pytest.approx(20.0)  # at 10 s a row


def test_a_smaller_extent(finished: Path) -> None:
    one = outlooks(finished, toy.numbers(count=6))["numbers"]
    assert (one.planned, one.left, one.kept) == (6, 0, False)
    assert words(finished, toy.numbers(count=6))[0] == (
        "numbers: no row to compute (to be brought into the order of the present plan)"
    )


def test_rows_with_an_error(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(failing={"5"}), toy.squares(), toy.total(), policy=Policy(max_error_rate=0.2))
    one = outlooks(tmp_path)["numbers"]
    assert (one.planned, one.left, one.why) == (10, 1, "1 with an error are tried again")


def test_the_inputs_that_changed_are_named(finished: Path) -> None:
    toy.run(finished, toy.numbers(factor=2))
    assert outlooks(finished, toy.numbers(factor=2))["squares"].why == (
        "changed: results of numbers; the results before stay"
    )
    toy.run(finished, toy.numbers(count=12), toy.squares())
    assert outlooks(finished, toy.numbers(count=12))["total"].why == (
        "changed: results of squares; the results before stay"
    )


def test_a_plan_that_reads_another_table_is_no_changed_content(finished: Path) -> None:
    toy.run(finished, toy.squares(Need.PLAN))
    toy.run(finished, toy.numbers(factor=2))
    stages = toy.numbers(factor=2), replace(toy.squares(Need.PLAN), content={"power": 3})
    assert outlooks(finished, *stages)["squares"].why == "changed: power 2 -> 3; the results before stay"


def test_a_resumed_stage_is_estimated_by_all_that_was_computed(tmp_path: Path) -> None:
    """Not by the few rows of the last run, which opened the models for them."""

    def stop(batch: Batch) -> None:
        if "8" in batch:
            raise ModelError("stop")

    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop))
    toy.run(tmp_path, toy.numbers())
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    for one in lines:
        if one["event"] in ("failed", "finished"):
            one["seconds"] = {"failed": 80.0, "finished": 40.0}[one["event"]]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert outlooks(tmp_path, toy.numbers(factor=2))["numbers"].seconds == pytest.approx(120.0)
