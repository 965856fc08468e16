"""Three small stages that keep to ddb.stage.Stage, and a script that runs them so that tests can kill it."""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddb.engine import runner
from ddb.engine.interrupt import guarded
from ddb.engine.runner import Policy, run_stage
from ddb.engine.workspace import Workspace
from ddb.errors import DDBError, Interrupted
from ddb.stage import Row, Stage, Tables, Worker

NAMES = ("numbers", "squares", "total")


class Silent:
    """A Progress that says nothing."""

    def start(self, stage: str, planned: int, done: int) -> None: ...

    def advance(self, rows: int, errors: int) -> None: ...

    def stop(self, state: str) -> None: ...

    def skip(self, stage: str, planned: int) -> None: ...

    def say(self, text: str) -> None: ...


def schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([("id", pa.string()), *fields, ("status", pa.string()), ("error", pa.string())])


def numbers(
    count: int = 10,
    factor: int = 1,
    failing: Collection[str] = (),
    asked: list[list[str]] | None = None,
    before: Callable[[list[str]], None] = lambda ids: None,
    batch_size: int = 4,
) -> Stage:
    """Row n: factor * n and a blob of n kB. Ids in `failing` raise; each batch is added to `asked`."""

    def work(ids: list[str]) -> list[Row]:
        if asked is not None:
            asked.append(ids)
        before(ids)
        if broken := [name for name in ids if name in failing]:
            raise ValueError(f"cannot read {broken[0]}")
        return [row(int(name)) for name in ids]

    def row(n: int) -> Row:
        blob = hashlib.shake_256(str(n).encode()).digest(1000 * n)
        return {"id": str(n), "value": factor * n, "blob": blob, "status": "ok", "error": ""}

    return Stage(
        name="numbers",
        schema=schema(("value", pa.int64()), ("blob", pa.binary())),
        needs=(),
        settings={"factor": factor},
        plan=lambda tables: [str(n) for n in range(count)],
        open=lambda tables, folder: work,
        batch_size=batch_size,
    )


def squares(row_needs: tuple[str, ...] = (), asked: list[list[str]] | None = None) -> Stage:
    """The square of every number; odd ones have a status of their own."""

    def open_worker(tables: Tables, folder: Path) -> Worker:
        value = {row["id"]: row["value"] for row in tables.table("numbers").to_pylist()}

        def work(ids: list[str]) -> list[Row]:
            if asked is not None:
                asked.append(ids)
            return [
                {"id": name, "square": value[name] ** 2, "status": "odd" if value[name] % 2 else "ok", "error": ""}
                for name in ids
            ]

        return work

    return Stage(
        name="squares",
        schema=schema(("square", pa.int64())),
        needs=("numbers",),
        settings={},
        plan=lambda tables: [row["id"] for row in tables.table("numbers").to_pylist() if row["status"] == "ok"],
        open=open_worker,
        batch_size=3,
        row_needs=row_needs,
    )


def total() -> Stage:
    """The sum of all squares, also as an artefact."""

    def open_worker(tables: Tables, folder: Path) -> Worker:
        found = sum(row["square"] for row in tables.table("squares").to_pylist())
        return lambda ids: [{"id": name, "sum": found, "status": "ok", "error": ""} for name in ids]

    def finish(tables: Tables, folder: Path) -> None:
        (folder / "total.txt").write_text(str(tables.table("total")["sum"][0].as_py()))

    return Stage(
        name="total",
        schema=schema(("sum", pa.int64())),
        needs=("squares",),
        settings={},
        plan=lambda tables: ["total"],
        open=open_worker,
        batch_size=1,
        finish=finish,
    )


def run(root: Path, *stages: Stage, policy: Policy | None = None) -> Workspace:
    """Run stages as the pipeline does."""
    workspace = Workspace(root, NAMES)
    with guarded(), workspace.locked():
        for stage in stages:
            run_stage(workspace, stage, Silent(), policy)
    return workspace


def tree(root: Path) -> dict[str, str]:
    """Hash of every file below `root` except the ones that hold times."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in ("events.jsonl", ".lock"))
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def computed(root: Path) -> list[str]:
    """Ids that `numbers` of this script computed, over all its runs."""
    return (root.parent / f"{root.name}.computed").read_text().split()


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
    runner.PART_SECONDS = 0.0

    def before(ids: list[str]) -> None:
        with open(root.parent / f"{root.name}.computed", "a") as log:
            log.write(" ".join(ids) + "\n")
        time.sleep(seconds)

    run(root, numbers(count=count, before=before), squares(), total())


def every_operation(root: Path) -> int:
    """Kill a run before its n-th file operation, for every n, and resume it; the number of kills that were survived."""
    os.fsync = lambda handle: None  # a kill, unlike a power cut, loses nothing that was not synced
    count = 6
    script(root / "unbroken", 0.0, count)  # here, not in a child: what pyarrow loads on first use is loaded once
    wanted, number = tree(root / "unbroken"), 0
    while True:
        place = root / f"killed-{number:03d}"
        code = forked(lambda n=number, p=place: (die_at_operation(n), script(p, 0.0, count)))
        if code == 0:
            return number
        assert code == -signal.SIGKILL, code
        assert forked(script, place, 0.0, count) == 0
        assert tree(place) == wanted, number
        again = len(computed(place)) - count
        assert again <= 4, f"kill {number}: {again} rows were computed twice, a batch has 4"
        number += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--largest-file", type=int)
    parser.add_argument("--every-operation", action="store_true")
    options = parser.parse_args()
    if options.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.largest_file, options.largest_file))
    try:
        if options.every_operation:
            print(every_operation(options.root))
        else:
            script(options.root, options.seconds)
    except DDBError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, Interrupted) else 1)
