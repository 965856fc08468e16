"""What `ddb status` reads: done, failed, left and kept, without building a stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy_stages as toy

from ddb.engine import clean
from ddb.engine.runner import Policy
from ddb.engine.state import describe, in_words
from ddb.errors import ModelError
from ddb.stage import Batch


@pytest.fixture(autouse=True)
def _part_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.buffer, "PART_SECONDS", 0.0)


def stop_at_8(batch: Batch) -> None:
    if "8" in batch:
        raise ModelError("stop")


def by_name(root: Path) -> dict[str, dict[str, Any]]:
    return {stage["stage"]: stage for stage in describe(toy.Workspace.at(root))["stages"]}


def states(root: Path) -> list[str]:
    return [stage["state"] for stage in by_name(root).values()]


def test_counts_of_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(before=stop_at_8, failing={"1"}), policy=Policy(max_error_rate=0.5))
    numbers = by_name(tmp_path)["numbers"]
    assert numbers["state"] == "unfinished"
    assert (numbers["planned"], numbers["done"], numbers["errors"], numbers["left"]) == (10, 7, 1, 3)
    assert states(tmp_path) == ["unfinished", "not started", "not started"]
    assert not describe(toy.Workspace.at(tmp_path))["finished"]
    json.dumps(describe(toy.Workspace.at(tmp_path)))


def test_a_run_up_to_a_stage_is_not_finished(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    assert states(tmp_path) == ["finished", "not started", "not started"]
    assert not describe(toy.Workspace.at(tmp_path))["finished"]


def test_a_finished_run(tmp_path: Path) -> None:
    state = describe(toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total()))
    assert state["finished"]
    assert [stage["left"] for stage in state["stages"]] == [0, 0, 0]
    assert state["stages"][1]["statuses"] == {"odd": 5, "ok": 5}
    assert "squares    finished     10 of 10 rows, 5 odd" in in_words(state)


def test_stages_after_a_changed_one_wait(tmp_path: Path) -> None:
    first = toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    toy.run(tmp_path, toy.numbers(factor=2))
    found = by_name(tmp_path)
    assert states(tmp_path) == ["finished", "not started", "waiting"]
    (other,) = found["numbers"]["others"]
    assert other["folder"] == first.folder("numbers").relative_to(tmp_path).as_posix()
    assert other["rows"] == 10
    assert other["bytes"] > 45_000  # blobs of 0 to 9 kB
    assert other["seconds"] > 0
    words = in_words(describe(toy.Workspace.at(tmp_path)))
    assert f"of other settings: {other['folder']} (10 rows" in words


def test_a_stage_that_waits_is_named(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(factor=2, before=stop_at_8))
    found = by_name(tmp_path)
    assert states(tmp_path) == ["unfinished", "waiting", "waiting"]
    assert [len(found[name]["others"]) for name in toy.NAMES] == [1, 1, 1]
    assert found["squares"]["folder"] == ""


def test_rows_that_are_not_planned_are_not_counted(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    toy.run(tmp_path, toy.numbers(count=6))
    numbers = by_name(tmp_path)["numbers"]
    assert (numbers["planned"], numbers["done"], numbers["left"]) == (6, 6, 0)
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(count=12, before=lambda batch: stop_at_8(["8"])))
    numbers = by_name(tmp_path)["numbers"]
    assert (numbers["planned"], numbers["done"], numbers["left"]) == (12, 10, 2)


def test_clean_removes_what_is_not_used_and_nothing_else(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(factor=2), toy.squares(), toy.total())
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    workspace = toy.run(tmp_path, toy.numbers(count=6), toy.squares(), toy.total())
    before = toy.tree(tmp_path)
    found = clean.unused(workspace)
    assert toy.tree(tmp_path) == before
    own = {name: workspace.folder(name) for name in toy.NAMES}
    wanted = [
        *sorted(path for path in (tmp_path / "1-numbers").iterdir() if path != own["numbers"]),
        own["numbers"] / "aside.parquet",
        *sorted(path for path in (tmp_path / "2-squares").iterdir() if path != own["squares"]),
        own["squares"] / "aside.parquet",
        *sorted(path for path in (tmp_path / "3-total").iterdir() if path != own["total"]),
    ]
    assert [one.path for one in found] == wanted
    assert [one.rows for one in found] == [10, 4, 10, 4, 1, 1]
    assert [one.bytes for one in found] == [clean.size_of(path) for path in wanted]
    clean.remove(found)
    kept = set(toy.tree(tmp_path))
    assert kept == {
        name
        for name in before
        if not any((tmp_path / name) == path or path in (tmp_path / name).parents for path in wanted)
    }
    assert describe(toy.Workspace.at(tmp_path))["finished"]
    assert clean.unused(toy.Workspace.at(tmp_path)) == []


def test_clean_leaves_stages_that_wait(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers(), toy.squares(), toy.total())
    with pytest.raises(ModelError):
        toy.run(tmp_path, toy.numbers(factor=2, before=stop_at_8))
    workspace = toy.Workspace.at(tmp_path)
    found = clean.unused(workspace)
    assert [one.stage for one in found] == ["numbers"]
    assert "kept: all results of squares, total" in "\n".join(clean.in_words(workspace, found))
