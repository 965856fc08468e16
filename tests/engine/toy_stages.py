"""Three small stages that keep to ddb.stage.Stage, and a script that runs them so that tests can kill it."""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddb.context import Models
from ddb.engine import buffer, journal
from ddb.engine.interrupt import guarded
from ddb.engine.runner import Policy, Setup, run_stage
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, Interrupted
from ddb.stage import Batch, Fixed, Need, Row, Stage, Tables, Worker

NAMES = ("numbers", "squares", "total")
TIMES = ("events.jsonl", "errors.log", ".lock")
HERE = Fixed(batch_size=0, device="cpu", dtype="float32", threads=2, ddb="1.0")


class Notes:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, stage: str, planned: int, done: int) -> None: ...

    def opening(self) -> None: ...

    def opened(self) -> None: ...

    def advance(self, rows: int, errors: int) -> None: ...

    def stop(self, state: str) -> None: ...

    def skip(self, stage: str, planned: int) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)


def schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([("id", pa.string()), *fields, ("status", pa.string()), ("error", pa.string())])


def numbers(
    count: int = 10,
    factor: int = 1,
    failing: Collection[str] = (),
    asked: list[list[str | None]] | None = None,
    before: Callable[[Batch], None] = lambda batch: None,
    batch_size: int = 4,
) -> Stage:
    """Row n: factor * n, its slot, and a blob of n kB. Ids in `failing` raise; each batch is added to `asked`."""

    def work(batch: Batch) -> list[Row]:
        if asked is not None:
            asked.append(list(batch))
        before(batch)
        if broken := [name for name in batch if name in failing]:
            raise ValueError(f"cannot read {broken[0]}")
        return [row(int(name), slot) for slot, name in enumerate(batch) if name is not None]

    def row(n: int, slot: int) -> Row:
        blob = hashlib.shake_256(str(n).encode()).digest(1000 * n)
        return {"id": str(n), "value": factor * n, "slot": slot, "blob": blob, "status": "ok", "error": ""}

    return Stage(
        name="numbers",
        schema=schema(("value", pa.int64()), ("slot", pa.int64()), ("blob", pa.large_binary())),
        needs={},
        content={"factor": factor},
        extent={"count": count},
        plan=lambda tables: [str(n) for n in range(count)],
        open=lambda models, tables, folder, fixed: work,
        batch_size=batch_size,
    )


def squares(need: Need = Need.ROWS, asked: list[list[str | None]] | None = None, power: int = 2) -> Stage:
    """A power of every number; odd ones have a status of their own."""

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        value = {row["id"]: row["value"] for row in tables.table("numbers").to_pylist()}

        def work(batch: Batch) -> list[Row]:
            if asked is not None:
                asked.append(list(batch))
            return [
                {"id": name, "square": value[name] ** power, "status": "odd" if value[name] % 2 else "ok", "error": ""}
                for name in batch
                if name is not None
            ]

        return work

    return Stage(
        name="squares",
        schema=schema(("square", pa.int64())),
        needs={"numbers": need},
        content={"power": power},
        plan=lambda tables: [row["id"] for row in tables.table("numbers").to_pylist() if row["status"] == "ok"],
        open=open_worker,
        batch_size=3,
    )


def total(asked: list[list[str | None]] | None = None) -> Stage:
    """The sum of all squares, also as an artefact."""

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        found = sum(tables.table("squares", ["square"])["square"].to_pylist())

        def work(batch: Batch) -> list[Row]:
            if asked is not None:
                asked.append(list(batch))
            return [{"id": name, "sum": found, "status": "ok", "error": ""} for name in batch]

        return work

    def finish(tables: Tables, folder: Path) -> None:
        (folder / "total.txt").write_text(str(tables.table("total")["sum"][0].as_py()))

    return Stage(
        name="total",
        schema=schema(("sum", pa.int64())),
        needs={"squares": Need.TABLE},
        content={},
        plan=lambda tables: ["total"],
        open=open_worker,
        batch_size=1,
        finish=finish,
    )


def setup(stages: Sequence[Stage], fixed: Fixed = HERE, policy: Policy | None = None, **more: Any) -> Setup:
    """How a run of these stages is set up: those that are missing are the default ones."""
    given = {stage.name: stage for stage in (numbers(), squares(), total(), *stages)}

    def open_worker(stage: Stage, workspace: Workspace, fixed: Fixed) -> Worker:
        return stage.open(Models(), workspace, workspace.folder(stage.name), fixed)

    facts = {"progress": Notes(), "policy": policy or Policy(), **more}
    return Setup([given[name] for name in NAMES], open_worker, fixed, **facts)


def run(root: Path, *stages: Stage, **facts: Any) -> Workspace:
    """Run stages as the pipeline does."""
    with guarded(), journal.locked(root):
        workspace, how = Workspace(root, NAMES), setup(stages, **facts)
        workspace.settle(how.stages)
        for stage in stages:
            run_stage(workspace, stage.name, how)
    return workspace


def settled(root: Path, *stages: Stage) -> tuple[Workspace, Sequence[Stage]]:
    """The workspace as a run would find it, and all stages; nothing is written."""
    workspace, how = Workspace(root, NAMES), setup(stages)
    workspace.settle(how.stages, write=False)
    return workspace, how.stages


def part(workspace: Workspace, stage: str = "numbers") -> Path:
    """The finished part of a stage."""
    return workspace.folder(stage) / "part-00000.parquet"


def tree(root: Path) -> dict[str, str]:
    """Hash of every file below `root` except the ones that hold times."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in TIMES)
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def computed(root: Path) -> list[str]:
    """Ids that `numbers` of this script computed, over all its runs."""
    log = root.parent / f"{root.name}.computed"
    return log.read_text().split() if log.exists() else []


def forked(function: Callable[..., Any], *arguments: Any) -> int:
    """Run in a child process; its exit code, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        function(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at_operation(number: int) -> None:
    """SIGKILL this process before the `number`-th change that it makes to the file system, counted from 0."""
    left = [number]

    def armed(operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return operation(*arguments, **keywords)

        return wrapper

    for name in ("replace", "fsync", "unlink", "mkdir"):
        setattr(os, name, armed(getattr(os, name)))


def script(root: Path, seconds: float, count: int = 18) -> None:
    """All stages, a part per batch, `seconds` a batch."""
    buffer.PART_SECONDS = 0.0

    def before(batch: Batch) -> None:
        with open(root.parent / f"{root.name}.computed", "a") as log:
            log.write(" ".join(name for name in batch if name is not None) + "\n")
        time.sleep(seconds)

    run(root, numbers(count=count, before=before), squares(), total())


def every_operation(root: Path, counts: Sequence[int]) -> int:
    """Kill a run with the last of `counts` rows before its n-th file operation, for every n, and resume it; the folder
    has gone through the other counts before. The number of kills that were survived."""
    os.fsync = lambda handle: None  # a kill, unlike a power cut, loses nothing that was not synced
    *before, count = counts
    for place in ("before", "unbroken"):  # here, not in a child: what pyarrow loads on first use is loaded once
        (root / place).mkdir()
        for each in before:
            script(root / place, 0.0, each)
    script(root / "unbroken", 0.0, count)
    wanted, rows, number = tree(root / "unbroken"), len(computed(root / "unbroken")), 0
    while True:
        place = root / f"killed-{number:03d}"
        shutil.copytree(root / "before", place)
        code = forked(lambda n=number, p=place: (die_at_operation(n), script(p, 0.0, count)))
        if code == 0:
            return number
        assert code == -signal.SIGKILL, code
        assert forked(script, place, 0.0, count) == 0
        assert tree(place) == wanted, number
        again = len(computed(place)) + len(computed(root / "before")) - rows
        assert again <= 4, f"kill {number}: {again} rows were computed twice, a batch has 4"
        shutil.rmtree(place)
        number += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--largest-file", type=int)
    parser.add_argument("--every-operation", nargs="+", type=int)
    options = parser.parse_args()
    if options.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.largest_file, options.largest_file))
    try:
        if options.every_operation:
            print(every_operation(options.root, options.every_operation))
        else:
            script(options.root, options.seconds)
    except DDBError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, Interrupted) else 1)
