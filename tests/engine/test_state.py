"""What `ddb status` reads: done, failed, left and stale, without building a stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_stages as toy

from ddb.engine.runner import Policy
from ddb.engine.state import describe, in_words
from ddb.errors import ModelError


def by_name(workspace: toy.Workspace) -> dict[str, dict[str, object]]:
    return {stage["stage"]: stage for stage in describe(workspace)["stages"]}


def test_counts_of_an_unfinished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.runner, "PART_SECONDS", 0.0)

    def stop(ids: list[str]) -> None:
        if "8" in ids:
            raise ModelError("stop")

    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop, failing={"1"}), policy=Policy(max_error_rate=0.5))
    workspace = toy.Workspace(tmp_path, toy.NAMES)
    numbers = by_name(workspace)["numbers"]
    assert numbers["state"] == "unfinished"
    assert (numbers["planned"], numbers["done"], numbers["errors"], numbers["left"]) == (10, 7, 1, 3)
    assert by_name(workspace)["squares"]["state"] == "not started"
    assert not describe(workspace)["finished"]
    json.dumps(describe(workspace))


def test_a_finished_run(tmp_path: Path) -> None:
    state = describe(toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total()))
    assert state["finished"]
    assert [stage["left"] for stage in state["stages"]] == [0, 0, 0]
    assert state["stages"][1]["statuses"] == {"odd": 5, "ok": 5}
    assert "2-squares    finished     10 of 10 rows, 5 odd" in in_words(state)


def test_stages_after_a_changed_one_are_stale(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    workspace = toy.run(tmp_path, toy.numbers(factor=2))
    assert [stage["state"] for stage in describe(workspace)["stages"]] == ["finished", "stale", "stale"]


def test_a_grown_table_leaves_rows_of_single_rows_current(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares(row_needs=("numbers",)), toy.total())
    workspace = toy.run(tmp_path, toy.numbers(count=11))
    assert [stage["state"] for stage in describe(workspace)["stages"]] == ["finished", "finished", "finished"]
