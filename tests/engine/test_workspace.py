"""Parts, order, events and damage in a run folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import toy_stages as toy

from ddb.engine import files
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, StageFailed


def row(n: int, value: int) -> dict[str, object]:
    return {"id": str(n), "value": value, "blob": b"x" * (n % 7), "status": "ok", "error": ""}


def test_many_parts_become_one_in_plan_order(tmp_path: Path) -> None:
    workspace, stage, order = Workspace(tmp_path, toy.NAMES), toy.numbers(), list(range(1200))
    random.Random(0).shuffle(order)
    for start in range(0, 1200, 500):  # parts of more than one row group
        workspace.write_part(stage, [row(n, -1) for n in order[start : start + 500]])
    workspace.write_part(stage, [row(n, n) for n in range(1200) if n % 3 == 0])  # a later attempt
    plan = [str(n) for n in range(1200) if n % 5]
    workspace.compact(stage, plan)
    table = workspace.table("numbers")
    assert table["id"].to_pylist() == plan
    assert table["value"].to_pylist() == [int(n) if int(n) % 3 == 0 else -1 for n in plan]
    assert table["blob"].to_pylist() == [b"x" * (int(n) % 7) for n in plan]


def test_bytes_do_not_depend_on_how_rows_came(tmp_path: Path) -> None:
    stage, plan = toy.numbers(), [str(n) for n in range(700)]
    digests = set()
    for name, sizes in (("a", [700]), ("b", [1] * 30 + [670]), ("c", [333, 367])):
        workspace, position = Workspace(tmp_path / name, toy.NAMES), 0
        for size in sizes:
            workspace.write_part(stage, [row(n, n) for n in range(position, position + size)])
            position += size
        workspace.compact(stage, plan)
        digests.add(toy.tree(tmp_path / name)["1-numbers/part-00000.parquet"])
    assert len(digests) == 1


def test_a_run_folder_is_found_again(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    assert Workspace.at(tmp_path).stages == toy.NAMES
    with pytest.raises(DDBError, match="not a run folder"):
        Workspace.at(tmp_path / "1-numbers")


def test_an_unfinished_stage_has_no_table(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, toy.NAMES)
    with pytest.raises(StageFailed, match="not finished"):
        workspace.table("numbers")


def test_damage_is_named(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers())
    part = tmp_path / "1-numbers" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DDBError, match=r"part-00000\.parquet: damaged"):
        workspace.table("numbers")
    (tmp_path / "1-numbers" / "done.json").write_text("{")
    with pytest.raises(DDBError, match=r"done\.json"):
        workspace.done("numbers")


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    left = tmp_path / "1-numbers" / ("part-00001.parquet" + files.TEMPORARY)
    left.write_bytes(b"half")
    toy.run(tmp_path, toy.numbers())
    assert not left.exists()


def test_an_event_cut_short_by_a_kill_does_not_spoil_the_next(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, toy.NAMES)
    workspace.event("run", seed=1)
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"event": "par')
    workspace.event("run", seed=2)
    assert [event["seed"] for event in workspace.events()] == [1, 2]
    assert all(event["time"].endswith("+00:00") for event in workspace.events())
