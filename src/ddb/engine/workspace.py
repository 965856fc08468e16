"""The run folder: `1-erm/ .. 8-evaluate/` with Parquet parts, `plan.json` and `done.json`; `events.jsonl`.

A stage's folder holds
    plan.json            written first: fingerprint, what it was made from, number of planned rows
    part-00000.parquet   and more parts while the stage runs; one part in plan order when it is done
    done.json            written last: fingerprint, digest of the part, number of rows and of error rows
and whatever the stage itself writes beside them. Later parts overrule earlier ones: a row with an error is
overruled by its next attempt. Nothing in these files depends on the clock; times are in `events.jsonl`, one object a
line: `time` (UTC), `event` and, for a stage's events, `stage` and `seconds`:
run | started | part | row_failed | stale | skipped | finished | failed | interrupted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ddb.engine import files
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import Row, Stage

GROUP_ROWS = 256
"""Rows of a row group: the memory that bringing a stage into order needs."""


@dataclass(frozen=True)
class Done:
    """What `done.json` says. `digest` is the SHA-256 of the finished part."""

    fingerprint: str
    digest: str
    rows: int
    errors: int


@dataclass(frozen=True)
class Workspace:
    """The run folder at `root`; `stages` are the names in order (`at` finds them in an existing folder)."""

    root: Path
    stages: tuple[str, ...]

    @staticmethod
    def at(root: Path) -> Workspace:
        """The workspace of an existing run folder. Raises DDBError where there is none."""
        found = [re.fullmatch(r"(\d+)-([a-z_]+)", path.name) for path in root.glob("*") if path.is_dir()]
        names = [match[2] for match in sorted((m for m in found if m), key=lambda m: int(m[1]))]
        if not names:
            raise DDBError(f"{root}: not a run folder (no stage folders such as 1-erm). Start a run with `ddb run`.")
        return Workspace(root, tuple(names))

    def folder(self, stage: str) -> Path:
        """The stage's folder, made if it is missing."""
        path = self.root / f"{self.stages.index(stage) + 1}-{stage}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def parts(self, stage: str) -> list[Path]:
        """The stage's parts, oldest first."""
        return sorted(self.folder(stage).glob("part-*.parquet"))

    def done(self, stage: str) -> Done | None:
        """What the finished stage left, None while it is not finished."""
        value = files.read_json(self.folder(stage) / "done.json")
        return None if value is None else Done(**value)

    def table(self, stage: str) -> pa.Table:
        """All rows of a finished stage in the order of its plan. Raises StageFailed where it is not finished."""
        if not self.parts(stage) or len(self.parts(stage)) > 1:
            raise StageFailed(
                f"{self.folder(stage)}: stage {stage} is not finished. Run `ddb run` on this folder first."
            )
        return _read(self.parts(stage)[0])

    def rows(self, stage: str, columns: Sequence[str] = ("id", "status")) -> dict[str, Row]:
        """The rows there are so far, finished or not: id -> the asked columns. Later parts overrule earlier ones."""
        found: dict[str, Row] = {}
        for part in self.parts(stage):
            for row in _read(part, columns).to_pylist():
                found[row["id"]] = row
        return found

    def plan(self, stage: str) -> dict[str, Any] | None:
        """What `plan.json` says: fingerprint, planned, settings, needs. None where the stage never started."""
        return files.read_json(self.folder(stage) / "plan.json")

    def begin(self, stage: Stage, fingerprint: str, planned: int) -> None:
        """Mark the rows that follow as belonging to `fingerprint`; the stage counts as unfinished from here on."""
        folder = self.folder(stage.name)
        (folder / "done.json").unlink(missing_ok=True)
        made_from = {"settings": dict(stage.settings), "needs": self.needs(stage)}
        files.write_json(folder / "plan.json", {"fingerprint": fingerprint, "planned": planned, **made_from})

    def write_part(self, stage: Stage, rows: Sequence[Row]) -> Path:
        """Write rows as the next part, whole or not at all. DDBError names the folder where the disk is full."""
        parts = self.parts(stage.name)
        number = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        path = self.folder(stage.name) / f"part-{number:05d}.parquet"
        table = pa.Table.from_pylist(list(rows), schema=stage.schema)
        files.write_atomic(
            path, lambda file: pq.write_table(table, file, row_group_size=GROUP_ROWS, compression="zstd")
        )
        return path

    def compact(self, stage: Stage, plan: Sequence[str]) -> None:
        """Bring the rows of all parts into one part in plan order; rows that are no longer planned are dropped.

        The new part takes the place of the first one before the others go, so a kill at any moment loses nothing."""
        parts = self.parts(stage.name)
        where: dict[str, tuple[int, int]] = {}
        for number, part in enumerate(parts):
            for row, name in enumerate(_read(part, ["id"]).column("id").to_pylist()):
                where[name] = (number, row)
        chunks = [plan[start : start + GROUP_ROWS] for start in range(0, len(plan), GROUP_ROWS)]

        def write(file: BinaryIO) -> None:
            with pq.ParquetWriter(file, stage.schema, compression="zstd") as writer:
                for chunk in chunks:
                    writer.write_table(_gather(parts, [where[name] for name in chunk]), row_group_size=GROUP_ROWS)

        files.write_atomic(self.folder(stage.name) / "part-00000.parquet", write)
        for part in parts:
            if part.name != "part-00000.parquet":
                part.unlink()
        files.sync_folder(self.folder(stage.name))

    def write_done(self, stage: str, fingerprint: str) -> None:
        """Declare the stage finished."""
        part = self.folder(stage) / "part-00000.parquet"
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        states = _read(part, ["status"]).column("status").to_pylist()
        files.write_json(
            self.folder(stage) / "done.json", asdict(Done(fingerprint, digest, len(states), states.count(ERROR)))
        )

    def clear(self, stage: str) -> None:
        """Remove everything of a stage; plan.json goes last, so that a half-cleared folder is still known as stale."""
        folder = self.folder(stage)
        (folder / "done.json").unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.name == "plan.json":
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        files.sync_folder(folder)
        (folder / "plan.json").unlink(missing_ok=True)

    def needs(self, stage: Stage) -> dict[str, str]:
        """What the needed stages contribute to the fingerprint: their own fingerprint and, unless the stage's rows
        depend on single rows alone (`row_needs`), the digest of their table; "" where that is not finished."""
        found = {}
        for name in stage.needs:
            done, plan = self.done(name), self.plan(name)
            if name in stage.row_needs:
                found[name] = plan["fingerprint"] if plan else ""
            else:
                found[name] = f"{done.fingerprint}:{done.digest}" if done else ""
        return found

    def fingerprint(self, stage: Stage) -> str:
        """SHA-256 of everything that decides the stage's rows: equal means that rows made then may be used now."""
        made_from = {"name": stage.name, "settings": dict(stage.settings), "needs": self.needs(stage)}
        value = {**made_from, "schema": stage.schema.to_string()}
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def is_current(self, stage: Stage) -> bool:
        """True where the stage's rows so far belong to its present settings and inputs."""
        plan = self.plan(stage.name)
        return plan is not None and plan["fingerprint"] == self.fingerprint(stage)

    def event(self, event: str, **facts: object) -> None:
        """Append a line to events.jsonl. A line that a kill cut short is closed first."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts})
        try:
            with open(self.root / "events.jsonl", "a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else "\n" + line
                file.write(line.encode() + b"\n")
        except OSError as error:
            raise (files.disk_full(self.root) if files.is_disk_full(error) else error) from error

    def events(self) -> list[dict[str, Any]]:
        """All events, oldest first; a line cut short by a kill is left out."""
        path = self.root / "events.jsonl"
        return [value for line in (path.read_bytes().splitlines() if path.exists() else []) if (value := _object(line))]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run folder for this process and clean up after a killed one. DDBError while another holds it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DDBError(f"{self.root}: cannot be made ({error.strerror}). Choose another --out.") from error
        with open(self.root / ".lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DDBError(
                    f"{self.root}: another ddb process works in this folder. Wait for it, or choose --out."
                ) from None
            for stage in self.stages:
                files.remove_temporary(self.folder(stage))
            yield


def _read(part: Path, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(part, columns=list(columns) if columns else None, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise DDBError(f"{part}: damaged ({error}). Delete its folder to compute the stage again.") from error


def _gather(parts: Sequence[Path], where: Sequence[tuple[int, int]]) -> pa.Table:
    """Rows (part number, row number) in the given order, as one table without chunk borders."""
    pieces, position, offset = [], {}, 0
    for number in sorted({part for part, _ in where}):
        rows = [row for part, row in where if part == number]
        groups = sorted({row // GROUP_ROWS for row in rows})
        pieces.append(pq.ParquetFile(parts[number]).read_row_groups(groups))
        for group in groups:
            position.update({(number, group * GROUP_ROWS + place): offset + place for place in range(GROUP_ROWS)})
            offset += min(GROUP_ROWS, pq.read_metadata(parts[number]).row_group(group).num_rows)
    return pa.concat_tables(pieces).take([position[key] for key in where]).combine_chunks()


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
