"""The run folder: a folder for each stage, in it a folder for each result, named by the result's fingerprint.

    RUN/1-erm/3f2a91c07d5e4b88/plan.json           written first: what the rows are made from, what their bits depend on
                               part-00000.parquet  and more parts while the stage runs; one in plan order at the end
                               aside.parquet       rows that the present plan does not ask for
                               done.json           written last: key, digest of the part, rows, error rows
    RUN/current.json                               which result of each stage the present settings use
    RUN/events.jsonl, errors.log                   see `journal.py`

Another setting computes another result beside the first; nothing is removed but by `ddb clean`. A stage whose needed
stages are not finished has no current result: what it would be made from is not known yet. Later parts overrule
earlier ones: a row with an error is overruled by its next attempt. No file of a result depends on the clock.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ddb.engine import files
from ddb.engine.parts import Part, is_payload, write_in_order, write_rows
from ddb.errors import DDBError, StageFailed
from ddb.records import ERROR
from ddb.stage import Fixed, Need, Row, Stage

CURRENT = "current.json"
ASIDE = "aside.parquet"
FIRST_PART = "part-00000.parquet"


@dataclass(frozen=True)
class Done:
    """What `done.json` says. `key`: of the plan that the rows follow; `digest`: SHA-256 of the finished part."""

    key: str
    digest: str
    rows: int
    errors: int


@dataclass(frozen=True)
class Current:
    """The result that the present settings use: `fingerprint` names its folder; `key` says what its plan was made from,
    so a result with another key may lack rows, or have rows of an older plan."""

    fingerprint: str
    key: str


class Workspace:
    """The run folder at `root`; `stages` are the names in order. It is a `ddb.stage.Tables`."""

    def __init__(self, root: Path, stages: Sequence[str]) -> None:
        self.root, self.stages = root, tuple(stages)
        self._parts: dict[Path, tuple[tuple[int, int, int], Part]] = {}
        self._ending: str | None = None
        self._settled: dict[str, Current] | None = None
        if old := next((root.glob("*-*/plan.json")), None):
            raise DDBError(
                f"{root}: a run folder of an older version of ddb (its results lie in {old.parent.name}/ itself). It "
                "is left as it is: choose another --out, or use that version to read it."
            )

    @staticmethod
    def at(root: Path) -> Workspace:
        """The workspace of an existing run folder. Raises DDBError where there is none."""
        found = [re.fullmatch(r"(\d+)-([a-z_]+)", path.name) for path in root.glob("*") if path.is_dir()]
        names = [match[2] for match in sorted((m for m in found if m), key=lambda m: int(m[1]))]
        if not names:
            raise DDBError(f"{root}: not a run folder (no stage folders such as 1-erm). Start a run with `ddb run`.")
        return Workspace(root, names)

    def home(self, stage: str) -> Path:
        """The folder of all results of a stage."""
        return self.root / f"{self.stages.index(stage) + 1}-{stage}"

    def result(self, stage: str, fingerprint: str) -> Path:
        """The folder of one result."""
        return self.home(stage) / fingerprint[:16]

    def results(self, stage: str) -> list[Path]:
        """The folders of all results that there are, finished or not."""
        return sorted(path.parent for path in self.home(stage).glob("*/plan.json"))

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
        """What the current result's `plan.json` says: key, planned, content, needs, extent, fixed. None before it
        started."""
        return files.read_json(self.folder(stage) / "plan.json") if self.current(stage) else None

    def done(self, stage: str) -> Done | None:
        """What the finished stage left; None where it is not finished under the present settings."""
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
        """The rows of the current result so far, finished or not, planned or not: id -> the asked columns."""
        found: dict[str, Row] = {}
        for part in self._all_parts(self.folder(stage)) if self.current(stage) else ():
            found.update({row["id"]: row for row in part.columns(columns).to_pylist()})
        return found

    def count(self, path: Path) -> int:
        """Rows of a result (its folder) or of a part."""
        parts = self._all_parts(path) if path.is_dir() else [self._part(path)]
        return len({name for part in parts for name in part.ids})

    def begin(self, stage: Stage, planned: int, fixed: Fixed) -> None:
        """Mark the rows that follow as belonging to the current result; it counts as unfinished from here on."""
        current, folder = self._begun(stage), self.folder(stage.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "done.json").unlink(missing_ok=True)
        facts = {
            "content": dict(stage.content),
            "extent": dict(stage.extent),
            "needs": self._marks(stage, self._known()),
        }
        more = {"planned": planned, "fixed": asdict(fixed), "schema": stage.schema.to_string()}
        files.write_json(folder / "plan.json", {**asdict(current), **facts, **more})

    def write_part(self, stage: Stage, rows: Sequence[Row]) -> Path:
        """Write rows as the next part, whole or not at all. DDBError names the folder where the disk is full."""
        parts = self._numbered(self.folder(stage.name))
        number = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        path = self.folder(stage.name) / f"part-{number:05d}.parquet"
        files.write_atomic(path, lambda file: write_rows(file, stage.schema, rows))
        return path

    def compact(self, stage: Stage, plan: Sequence[str]) -> None:
        """Bring the planned rows of all parts into one part in plan order, and the others aside (errors are dropped).

        What is put aside is written first, and the new part takes the place of the first one before the others go, so
        a kill at any moment loses nothing."""
        folder = self.folder(stage.name)
        parts, planned = self._all_parts(folder), set(plan)
        states = {name: row["status"] for name, row in self.rows(stage.name).items()}
        aside = [name for name, status in states.items() if name not in planned and status != ERROR]
        if aside:
            files.write_atomic(folder / ASIDE, lambda file: write_in_order(file, stage.schema, parts, aside))
        files.write_atomic(folder / FIRST_PART, lambda file: write_in_order(file, stage.schema, parts, plan))
        for path in self._numbered(folder):
            if path.name != FIRST_PART:
                path.unlink()
        if not aside:
            (folder / ASIDE).unlink(missing_ok=True)
        files.sync_folder(folder)

    def write_done(self, stage: Stage) -> None:
        """Declare the current result finished."""
        part = self.folder(stage.name) / FIRST_PART
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        states = self._part(part).columns(["status"])["status"].to_pylist()
        done = Done(self._begun(stage).key, digest, len(states), states.count(ERROR))
        files.write_json(self.folder(stage.name) / "done.json", asdict(done))

    def settle(self, stages: Sequence[Stage], unfinished: str | None = None, write: bool = True) -> None:
        """Find out which results `stages`, all of them in order, have under their present content and extent, and write
        it down; those that depend on an unfinished stage have none. `unfinished`: a stage that is about to change."""
        known: dict[str, Current] = {}
        changing = {unfinished}
        for stage in stages:
            if set(stage.needs) & changing:
                changing.add(stage.name)
                continue
            known[stage.name] = _identity(stage, self._marks(stage, known))
            if self._done(stage.name, known[stage.name]) is None:
                changing.add(stage.name)
        self._settled = known
        value = {name: asdict(current) for name, current in known.items()}
        if write and files.read_json(self.root / CURRENT) != value:
            files.write_json(self.root / CURRENT, value)

    def _marks(self, stage: Stage, known: Mapping[str, Current]) -> dict[str, str]:
        """Fingerprint and digest of every needed stage."""
        marks = {}
        for name in stage.needs:
            current = known.get(name)
            done = self._done(name, current)
            marks[name] = f"{current.fingerprint}:{done.digest}" if current and done else ""
        return marks

    def _known(self) -> dict[str, Current]:
        """As settled by this process, or as the folder says."""
        if self._settled is not None:
            return self._settled
        return {name: Current(**value) for name, value in (files.read_json(self.root / CURRENT) or {}).items()}

    def _done(self, stage: str, current: Current | None) -> Done | None:
        value = files.read_json(self.result(stage, current.fingerprint) / "done.json") if current else None
        done = None if value is None else Done(**value)
        return done if done and current and done.key == current.key else None

    def _begun(self, stage: Stage) -> Current:
        current = self.current(stage.name)
        assert current is not None, "settle comes before begin"
        return current

    @contextmanager
    def ending(self, stage: str) -> Iterator[None]:
        """Inside, the stage's table can be read although `done.json` is not there yet."""
        self._ending = stage
        try:
            yield
        finally:
            self._ending = None

    def _finished(self, stage: str) -> Part:
        if stage != self._ending and self.done(stage) is None:
            raise self._unfinished(stage)
        return self._part(self.folder(stage) / FIRST_PART)

    def _unfinished(self, stage: str) -> StageFailed:
        return StageFailed(
            f"{self.root}: stage {stage} is not finished under the present settings. Run `ddb run` on this folder "
            "first."
        )

    def _part(self, path: Path) -> Part:
        """An open part, opened anew where the file was replaced."""
        facts = path.stat()
        stamp = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
        if path not in self._parts or self._parts[path][0] != stamp:
            self._parts[path] = (stamp, Part(path))
        return self._parts[path][1]

    def _all_parts(self, folder: Path) -> list[Part]:
        """Parts of a result, oldest first; what was put aside counts as oldest."""
        aside = [folder / ASIDE] if (folder / ASIDE).exists() else []
        return [self._part(path) for path in [*aside, *self._numbered(folder)]]

    @staticmethod
    def _numbered(folder: Path) -> list[Path]:
        return sorted(folder.glob("part-*.parquet"))


def _identity(stage: Stage, marks: Mapping[str, str]) -> Current:
    decisive = {Need.TABLE: dict(marks), Need.ROWS: {name: mark.partition(":")[0] for name, mark in marks.items()}}
    needs = {name: decisive[need][name] for name, need in stage.needs.items() if need in decisive}
    content = {"name": stage.name, "content": dict(stage.content), "schema": stage.schema.to_string()}
    key = {"needs": dict(marks), "extent": dict(stage.extent)}
    return Current(_hash({**content, "needs": needs}), _hash(key))


def _hash(value: Mapping[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
