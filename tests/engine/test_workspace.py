"""Parts, order, payloads, events, locks and damage in a run folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy_stages as toy

from ddb.engine import files, journal, parts
from ddb.engine.clean import unused
from ddb.engine.part_files import PartFiles
from ddb.engine.parts import Part, Recent, write_in_order
from ddb.engine.state import describe
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, StageFailed
from ddb.stage import Stage


def row(n: int, value: int, kilobytes: float = 0) -> dict[str, object]:
    blob = random.Random(n).randbytes(int(1000 * kilobytes) + n % 7)
    return {"id": str(n), "value": value, "slot": 0, "blob": blob, "status": "ok", "error": ""}


def begun(root: Path, plan: list[str]) -> tuple[Workspace, Stage]:
    """A workspace in which `numbers` has begun."""
    workspace, how = Workspace(root, toy.NAMES), toy.setup([])
    root.mkdir(parents=True, exist_ok=True)
    workspace.settle(how.stages)
    workspace.begin(how.stages[0], plan, toy.HERE)
    return workspace, how.stages[0]


def finished(workspace: Workspace, stage: Stage, plan: list[str]) -> None:
    workspace.compact(stage, plan)
    workspace.write_done(stage)


def test_many_parts_become_one_in_plan_order(tmp_path: Path) -> None:
    plan = [str(n) for n in range(1200) if n % 5]
    workspace, stage = begun(tmp_path, plan)
    order = list(range(1200))
    random.Random(0).shuffle(order)
    for start in range(0, 1200, 500):  # parts of more than one row group
        workspace.write_part(stage, [row(n, -1) for n in order[start : start + 500]])
    workspace.write_part(stage, [row(n, n) for n in range(1200) if n % 3 == 0])  # a later attempt
    finished(workspace, stage, plan)
    table = workspace.table("numbers")
    assert table["id"].to_pylist() == plan
    assert table["value"].to_pylist() == [int(n) if int(n) % 3 == 0 else -1 for n in plan]
    assert list(workspace.payload("numbers", "blob", plan)) == [row(int(n), 0)["blob"] for n in plan]
    assert workspace.count(workspace.folder("numbers") / "aside.parquet") == 240


def test_bytes_do_not_depend_on_how_rows_came(tmp_path: Path) -> None:
    plan = [str(n) for n in range(300)]
    digests = set()
    for name, sizes in (("a", [300]), ("b", [1] * 20 + [280]), ("c", [133, 167])):
        position = 0
        workspace, stage = begun(tmp_path / name, plan)
        for size in sizes:
            workspace.write_part(stage, [row(n, n, kilobytes=20) for n in range(position, position + size)])
            position += size
        workspace.compact(stage, plan)
        digests.add(toy.part(workspace).read_bytes())
    assert len(digests) == 1


def test_row_groups_are_small_where_there_are_payloads(tmp_path: Path) -> None:
    sizes = [1000] * 5 + [17_000] + [1] * 100  # kB; one row is larger than a row group may be
    workspace, stage = begun(tmp_path, [str(n) for n in range(len(sizes))])
    workspace.write_part(stage, [row(n, n, size) for n, size in enumerate(sizes)])
    finished(workspace, stage, [str(n) for n in range(len(sizes))])
    found = pq.ParquetFile(toy.part(workspace)).metadata
    groups = [found.row_group(n) for n in range(found.num_row_groups)]
    assert [group.num_rows for group in groups] == [5, 1, 32, 32, 32, 4]
    assert all(group.num_rows == 1 or group.total_byte_size < 1 << 24 for group in groups)
    assert workspace.table("numbers").num_rows == len(sizes)


def test_payload_comes_by_id_over_row_groups(tmp_path: Path) -> None:
    plan = [str(n) for n in range(200)]
    workspace, stage = begun(tmp_path, plan)
    workspace.write_part(stage, [row(n, n, 1) for n in range(200)])
    with pytest.raises(StageFailed, match="not finished"):
        workspace.payload("numbers", "blob", ["1"])
    finished(workspace, stage, plan)
    asked = ["63", "64", "3", "199", "3"]
    assert list(workspace.payload("numbers", "blob", asked)) == [row(int(n), 0, 1)["blob"] for n in asked]
    with pytest.raises(KeyError):
        list(workspace.payload("numbers", "blob", ["200"]))


def test_a_table_has_no_payload(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers())
    assert workspace.table("numbers").column_names == ["id", "value", "slot", "status", "error"]
    assert workspace.table("numbers", ["slot", "id"]).column_names == ["slot", "id"]
    for name in ("blob", "colour"):
        with pytest.raises(ValueError, match=f"{name} is a payload column, or none"):
            workspace.table("numbers", ["id", name])


def test_offsets_beyond_2_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 payloads of 64 MiB: chunks that share one buffer, so that it costs no memory; and what is written and read is
    one row at a time."""
    blob = pa.array([b"\0" * (1 << 26)], pa.large_binary())
    count, schema = 40, pa.schema([("id", pa.string()), ("patch", pa.large_binary())])
    ids = [str(n) for n in range(count)]
    table = pa.table({"id": ids, "patch": pa.chunked_array([blob] * count)}, schema=schema)
    assert table.nbytes > 1 << 31
    written: list[list[str]] = []
    asked = ["39", "35", "0"]

    class Writer:
        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *_: object) -> None: ...

        def write_table(self, group: pa.Table, row_group_size: int) -> None:
            assert len(group["patch"][0].as_py()) == 1 << 26
            written.append(group["id"].to_pylist())

    class Shared(Part):
        def __init__(self) -> None:
            super().__init__(tmp_path, Recent())
            self._starts = [0, count]  # one row group

        def columns(self, names: Sequence[str]) -> pa.Table:
            return table.select(names)

        def _group(self, number: int, columns: tuple[str, ...]) -> pa.Table:
            return table.select(columns)

    monkeypatch.setattr(parts, "_writer", lambda *_: Writer())
    write_in_order(open(tmp_path / "part", "wb"), schema, [Shared()], asked)  # noqa: SIM115
    assert written == [[name] for name in asked]


def test_a_reader_keeps_few_files_and_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that ran for days has more parts than a process may have open files, and than fit into memory."""
    plan = [str(n) for n in range(60)]
    workspace, stage = begun(tmp_path, plan)
    for n in range(60):
        workspace.write_part(stage, [row(n, n, 10)])
    opened: list[Any] = []
    real = pq.ParquetFile
    monkeypatch.setattr(parts.pq, "ParquetFile", lambda path: (opened.append(path), real(path))[1])
    workspace.compact(stage, plan)
    assert len(opened) > 0
    assert len(workspace._files.recent._files) == 0, "the files of removed parts are closed"
    recent = Recent()
    for _ in range(40):
        recent.file(Part(toy.part(workspace), recent))
    assert len(recent._files) == parts.FILES_KEPT


def test_a_reader_survives_that_parts_are_brought_into_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ddb status` beside a run: the parts that it has listed are gone when it opens them."""
    plan = [str(n) for n in range(20)]
    workspace, stage = begun(tmp_path, plan)
    for n in range(20):
        workspace.write_part(stage, [row(n, n)])
    reader, real = Workspace.at(tmp_path), PartFiles.all

    def list_and_lose(self: PartFiles, folder: Path) -> list[Part]:
        found = real(self, folder)
        if self is reader._files:
            workspace.compact(stage, plan)
        return found

    monkeypatch.setattr(PartFiles, "all", list_and_lose)
    assert list(reader.rows("numbers")) == plan
    assert reader.count(workspace.folder("numbers")) == 20


def test_a_run_folder_is_found_again(tmp_path: Path) -> None:
    toy.run(tmp_path, toy.numbers())
    assert Workspace.at(tmp_path).stages == toy.NAMES
    with pytest.raises(DDBError, match="not a run folder"):
        Workspace.at(tmp_path / "1-numbers")


@pytest.mark.parametrize("name", ["plan.json", "done.json", "part-00000.parquet"])
def test_a_folder_of_an_older_version_is_refused_and_not_changed(tmp_path: Path, name: str) -> None:
    (tmp_path / "1-numbers").mkdir()
    (tmp_path / "1-numbers" / name).write_text("{}")
    (tmp_path / "1-numbers" / "part-00001.parquet.tmp").write_text("half")
    before = sorted(path.as_posix() for path in tmp_path.rglob("*"))
    verbs = [
        lambda: toy.run(tmp_path, toy.numbers()),
        lambda: describe(Workspace.at(tmp_path)),
        lambda: unused(Workspace.at(tmp_path)),
        lambda: Workspace(tmp_path, toy.NAMES).table("numbers"),
    ]
    for verb in verbs:
        with pytest.raises(DDBError, match=r"older version of ddb \(its results lie in 1-numbers/ itself\)"):
            verb()
    assert sorted(path.as_posix() for path in tmp_path.rglob("*")) == before


def test_an_unfinished_stage_has_no_table(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, toy.NAMES)
    with pytest.raises(StageFailed, match="not finished"):
        workspace.table("numbers")


def test_damage_is_named(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers())
    part = toy.part(workspace)
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DDBError, match=r"part-00000\.parquet: damaged"):
        workspace.table("numbers")
    (part.parent / "done.json").write_text("{")
    with pytest.raises(DDBError, match=r"done\.json"):
        workspace.done("numbers")


def test_json_of_a_stage_may_be_a_list_where_the_engine_does_not_read_it(tmp_path: Path) -> None:
    """prune's summary.json has an object for each direction."""
    (tmp_path / "summary.json").write_text('[{"kept": 3}]')
    assert files.read_any_json(tmp_path / "summary.json") == [{"kept": 3}]
    with pytest.raises(DDBError, match="a JSON object is expected"):
        files.read_json(tmp_path / "summary.json")


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    workspace = toy.run(tmp_path, toy.numbers())
    left = [workspace.folder("numbers") / "part-00001.parquet.tmp", tmp_path / ("current.json" + files.TEMPORARY)]
    for path in left:
        path.write_bytes(b"half")
    toy.run(tmp_path, toy.numbers())
    assert not any(path.exists() for path in left)


def test_an_event_cut_short_by_a_kill_does_not_spoil_the_next(tmp_path: Path) -> None:
    journal.event(tmp_path, "run", seed=1)
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write('{"event": "par')
    journal.event(tmp_path, "run", seed=2)
    assert [event["seed"] for event in journal.events(tmp_path)] == [1, 2]
    assert all(event["time"].endswith("+00:00") for event in journal.events(tmp_path))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING, logger="ddb"):
        workspace = toy.run(tmp_path, toy.numbers())
    assert workspace.done("numbers") is not None
    assert "has no locks (No locks available)" in caplog.text


def test_a_folder_that_another_process_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DDBError, match="another ddb process works in this folder"):
        toy.run(tmp_path, toy.numbers())


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "run" / ".lock").mkdir(parents=True)  # as in a read-only folder: it cannot be opened for writing
    for root in (tmp_path / "file", tmp_path / "run"):
        with pytest.raises(DDBError, match="cannot be made or written"):
            toy.run(root, toy.numbers())
