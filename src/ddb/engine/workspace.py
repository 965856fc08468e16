"""The run folder: a folder for each stage, in it a folder for each result, named by the result's fingerprint.

    RUN/1-erm/3f2a91c07d5e4b88/plan.json           written first: what the rows are made from, what their bits depend on
                               planned.parquet     ids of the planned rows, in order
                               part-00000.parquet  and more parts while the stage runs; one in plan order at the end
                               aside.parquet       rows that the present plan does not ask for
                               done.json           written last: key, digest of the part, rows, error rows
    RUN/current.json                               the stages, and which result of each the present settings use
    RUN/events.jsonl, errors.log                   see `journal.py`

Another setting computes another result beside the first; only `ddb clean` removes results. A stage whose needed stages
are not finished has no current result, since its inputs are not known yet. A row in a later part replaces that in an
earlier one: a row with an error is replaced by its next attempt. No file of a result depends on the clock.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddb.engine import files
from ddb.engine.identity import DONE_KEYS, Current, Done, identity, mark
from ddb.engine.layout import (
    ASIDE,
    CURRENT,
    DONE,
    FIRST_PART,
    PLAN,
    PLANNED,
    numbered,
    part_name,
    part_number,
    refuse_older,
)
from ddb.engine.part_files import PartFiles
from ddb.engine.parts import Part, is_payload, write_in_order, write_rows
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import Fixed, Need, Row, Stage


class Workspace:
    """The run folder at `root`; `stages` are the names in order. It is a `ddb.stage.Tables`.

    Raises DDBError where an older version of ddb made the folder."""

    def __init__(self, root: Path, stages: Sequence[str]) -> None:
        refuse_older(root)
        self.root, self.stages = root, tuple(stages)
        self._files = PartFiles()
        self._ending: str | None = None
        self._settled: dict[str, Current] | None = None
        self._expected: dict[str, str] = {}

    @staticmethod
    def at(root: Path) -> Workspace:
        """The workspace of an existing run folder. Raises DDBError where there is none."""
        refuse_older(root)
        known = files.read_json(root / CURRENT, ("stages", "results"))
        if known is None:
            raise DDBError(f"{root}: not a run folder, or nothing is computed yet. Start a run with `ddb run`.")
        return Workspace(root, known["stages"])

    @property
    def is_begun(self) -> bool:
        """Whether a run has begun in the folder: its stages are known."""
        return (self.root / CURRENT).exists()

    def as_now(self) -> Workspace:
        """The same folder with the present current results, for a reader of several stages: a run in another process
        does not change them."""
        other = Workspace(self.root, self.stages)
        other._settled = dict(self._known())
        return other

    def home(self, stage: str) -> Path:
        """The folder of all results of a stage."""
        return self.root / f"{self.stages.index(stage) + 1}-{stage}"

    def result(self, stage: str, fingerprint: str) -> Path:
        """The folder of one result."""
        return self.home(stage) / fingerprint[:16]

    def results(self, stage: str) -> list[Path]:
        """The folders of all existing results, finished or not."""
        return sorted(path.parent for path in self.home(stage).glob(f"*/{PLAN}"))

    def current(self, stage: str) -> Current | None:
        """The result that the present settings use; None while needed stages are not finished."""
        return self._known().get(stage)

    def folder(self, stage: str) -> Path:
        """The folder of the current result. Raises StageFailed where there is none."""
        current = self.current(stage)
        if current is None:
            raise self._unfinished(stage)
        return self.result(stage, current.fingerprint)

    def plan(self, stage: str) -> dict[str, Any] | None:
        """The content of the current result's `plan.json`: key, planned, content, extent, needs, fixed. None before it
        started."""
        return files.read_json(self.folder(stage) / PLAN) if self.current(stage) else None

    def planned(self, stage: str) -> list[str] | None:
        """The ids of the current plan, in order; None before the stage started with it."""
        current, plan = self.current(stage), self.plan(stage)
        if current is None or plan is None or plan["key"] != current.key:
            return None
        ids: list[str] = self._files.part(self.folder(stage) / PLANNED).ids
        return ids

    def done(self, stage: str) -> Done | None:
        """The content of `done.json`; None where the stage is not finished under the present settings."""
        return self._done(stage, self.current(stage))

    def table(self, stage: str, columns: Sequence[str] | None = None) -> pa.Table:
        """See `ddb.stage.Tables`. Raises StageFailed where the stage is not finished under the present settings."""
        part = self._finished(stage)
        names = [column.name for column in part.schema if not is_payload(column.type)]
        if refused := [name for name in columns or () if name not in names]:
            raise ValueError(f"stage {stage}: {refused[0]} is a payload column, or none; ask for payloads by id")
        return part.columns(list(columns) if columns is not None else names)

    def payload(self, stage: str, column: str, ids: Sequence[str]) -> Iterator[Any]:
        """See `ddb.stage.Tables`. Raises StageFailed where the stage is not finished under the present settings."""
        part = self._finished(stage)
        return (part.row(name, (column,))[column][0].as_py() for name in ids)

    def rows(self, stage: str, columns: Sequence[str] = ("id", "status")) -> dict[str, Row]:
        """All existing rows, whether the stage is finished or not, planned or not: id -> the columns `columns`.

        The rows are those of the current result; of a waiting stage, those of the result that it will resume (as found
        by `settle`)."""
        known = self.current(stage)
        fingerprint = known.fingerprint if known else self._expected.get(stage)
        found: dict[str, Row] = {}
        for table in self._files.columns(self.result(stage, fingerprint), columns) if fingerprint else ():
            found.update({row["id"]: row for row in table.to_pylist()})
        return found

    def count(self, path: Path) -> int:
        """Rows of a result (its folder) or of a part."""
        tables = self._files.columns(path, ["id"]) if path.is_dir() else [self._files.part(path).columns(["id"])]
        return len({name for table in tables for name in table["id"].to_pylist()})

    def begin(self, stage: Stage, plan: Sequence[str], fixed: Fixed) -> None:
        """Write the plan of the current result, to which the rows that follow belong; it is unfinished from here on."""
        current, folder = self._begun(stage), self.folder(stage.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        files.write_table(folder / PLANNED, pa.table({"id": pa.array(plan, pa.string())}))
        facts = {
            "content": dict(stage.content),
            "extent": dict(stage.extent),
            "needs": self._marks(stage, self._known()),
            "schema": stage.schema.to_string(),
        }
        files.write_json(folder / PLAN, {**asdict(current), **facts, "planned": len(plan), "fixed": asdict(fixed)})

    def write_part(self, stage: Stage, rows: Sequence[Row]) -> Path:
        """Write rows as the next part, whole or not at all. DDBError names the folder where the disk is full."""
        path = self._next_part(self.folder(stage.name))
        files.write_atomic(path, lambda file: write_rows(file, stage.schema, rows))
        return path

    def compact(self, stage: Stage, plan: Sequence[str]) -> None:
        """Write the planned rows of all parts as one part in plan order, and the others to aside.parquet (rows with
        errors are dropped).

        The planned rows are written as the newest part before anything is replaced, and older parts are removed first,
        so that a kill at any moment loses no row and restores no earlier attempt."""
        folder, planned = self.folder(stage.name), set(plan)
        parts = self._files.all(folder)
        states = {name: row["status"] for name, row in self.rows(stage.name).items()}
        aside = [name for name, status in states.items() if name not in planned and status != ERROR]
        whole = self._next_part(folder)
        files.write_atomic(whole, lambda file: write_in_order(file, stage.schema, parts, plan))
        if aside:
            files.write_atomic(folder / ASIDE, lambda file: write_in_order(file, stage.schema, parts, aside))
        self._files.forget()
        if whole.name != FIRST_PART:
            for path in numbered(folder):
                if path != whole:
                    path.unlink()
            os.replace(whole, folder / FIRST_PART)
        if not aside:
            (folder / ASIDE).unlink(missing_ok=True)
        files.sync_folder(folder)

    def write_done(self, stage: Stage) -> None:
        """Write `done.json`, which marks the current result as finished."""
        part = self.folder(stage.name) / FIRST_PART
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        states = self._files.part(part).columns(["status"])["status"].to_pylist()
        done = Done(self._begun(stage).key, digest, len(states), states.count(ERROR))
        files.write_json(self.folder(stage.name) / DONE, asdict(done))

    def settle(self, stages: Sequence[Stage], unfinished: str | None = None, write: bool = True) -> None:
        """Determine the current results of `stages` (all of them, in order) from their present content and extent, and
        write current.json; stages that depend on an unfinished stage have none. `unfinished`: a stage about to
        change."""
        known: dict[str, Current] = {}
        expected: dict[str, str] = {}
        changing = {unfinished}
        for stage in stages:
            awaited = [name for name in stage.needs if name in changing]
            if all(_is_determined(stage.needs[name], name in expected) for name in awaited):
                present = identity(stage, self._marks(stage, known, expected))
                expected[stage.name] = present.fingerprint
                if not awaited:
                    known[stage.name] = present
            if awaited or self._done(stage.name, known[stage.name]) is None:
                changing.add(stage.name)
        self._settled, self._expected = known, expected
        results = {name: asdict(current) for name, current in known.items()}
        value = {"stages": list(self.stages), "results": results}
        if write and files.read_json(self.root / CURRENT) != value:
            files.write_json(self.root / CURRENT, value)

    def _marks(
        self, stage: Stage, known: Mapping[str, Current], expected: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The mark of every needed stage; of a stage without a known result, that of the expected result."""
        marks = {}
        for name in stage.needs:
            current = known.get(name)
            fingerprint = current.fingerprint if current else (expected or {}).get(name, "")
            marks[name] = mark(fingerprint, self._done(name, current))
        return marks

    def _known(self) -> dict[str, Current]:
        """The current results, as settled by this process or else as stored in the folder."""
        if self._settled is not None:
            return self._settled
        value = files.read_json(self.root / CURRENT, ("results",)) or {"results": {}}
        return {name: Current(**current) for name, current in value["results"].items()}

    def _done(self, stage: str, current: Current | None) -> Done | None:
        value = files.read_json(self.result(stage, current.fingerprint) / DONE, DONE_KEYS) if current else None
        done = None if value is None else Done(**{key: value[key] for key in DONE_KEYS})
        return done if done and current and done.key == current.key else None

    def _begun(self, stage: Stage) -> Current:
        current = self.current(stage.name)
        assert current is not None, "settle comes before begin"
        return current

    @contextmanager
    def ending(self, stage: str) -> Iterator[None]:
        """Inside this context the stage's table can be read although `done.json` does not exist yet."""
        self._ending = stage
        try:
            yield
        finally:
            self._ending = None

    def _finished(self, stage: str) -> Part:
        if stage != self._ending and self.done(stage) is None:
            raise self._unfinished(stage)
        return self._files.part(self.folder(stage) / FIRST_PART)

    def _unfinished(self, stage: str) -> StageFailed:
        return StageFailed(
            f"{self.root}: stage {stage} is not finished under the present settings. Run `ddb run` on this folder "
            "first."
        )

    @staticmethod
    def _next_part(folder: Path) -> Path:
        parts = numbered(folder)
        return folder / part_name(part_number(parts[-1]) + 1 if parts else 0)


def _is_determined(need: Need, expected: bool) -> bool:
    """Whether the fingerprint of a stage is known although this needed stage is not finished."""
    return need is Need.PLAN or (need is Need.ROWS and expected)
