"""What the report reads of a run folder: the stages that are finished under its present settings, and its descriptions.

A stage that is not finished under the present settings has no rows here, whatever else lies in its folder, so a page
never shows results of different settings side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from ddb.engine import files
from ddb.errors import DDBError, StageFailed
from ddb.records import OK
from ddb.tables import Tables

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")
SAMPLE_COLUMNS = ("id", "image", "label", "attribute", "split")


class RunFolder(Tables, Protocol):
    """A run folder as the report needs it. `table` and `payload` raise StageFailed for a stage that is not finished
    under the present settings."""

    @property
    def root(self) -> Path:
        """The run folder."""
        ...

    def current(self, stage: str) -> object | None:
        """The result of the stage under the present settings; None where that is not known yet."""
        ...


@dataclass(frozen=True)
class Run:
    """A run folder, read only. `states`: stage -> its state in words ("unfinished"), for stages that are not shown.
    Files that describe the run (config.yaml, dataset.json, ...) may be missing; the page then says less."""

    tables: RunFolder
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.tables.root

    @cached_property
    def finished(self) -> tuple[str, ...]:
        """The stages that are finished under the present settings, in order."""
        return tuple(stage for stage in STAGES if self._is_finished(stage))

    def result(self, stage: str) -> str:
        """The name of the folder of a stage's result under the present settings; "" where that is not known yet."""
        return self.tables.folder(stage).name if self.tables.current(stage) is not None else ""

    @property
    def missing(self) -> list[str]:
        """The other stages, in order: no part of the page shows anything of them."""
        return [stage for stage in STAGES if stage not in self.finished]

    def table(self, stage: str, columns: Sequence[str]) -> pa.Table:
        """These columns (no payload) of a stage in plan order; without rows where the stage is not finished."""
        if stage not in self.finished:
            return pa.table({name: pa.array([], pa.null()) for name in columns})
        return self.tables.table(stage, columns).select(list(columns))

    def rows(self, stage: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The values of these columns (no payload) row by row, as `table`."""
        return zip(*(column.to_pylist() for column in self.table(stage, columns).columns), strict=True)

    def payload(self, stage: str, column: str, ids: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """(id, payload) of these rows, one after the other, in the order of the stage's table."""
        if stage not in self.finished:
            return iter(())
        wanted = set(ids)
        ordered = [name for (name,) in self.rows(stage, ("id",)) if name in wanted]
        return zip(ordered, self.tables.payload(stage, column, ordered), strict=True)

    @cached_property
    def verdicts(self) -> dict[str, str]:
        """Candidate id -> the reason of its verdict ("kept", "psi", ...)."""
        return {name: reason for name, reason, status in self.rows("prune", ("id", "reason", "status")) if status == OK}

    def json(self, name: str, stage: str = "") -> Any:
        """A JSON file of the run folder, or of a finished stage; an empty object where there is none."""
        if stage and stage not in self.finished:
            return {}
        path = (self.tables.folder(stage) if stage else self.folder) / name
        return files.read_any_json(path) or {}

    def started(self, name: str, stage: str) -> Any:
        """A JSON file of a stage's result under the present settings, finished or not; an empty object where there is
        none."""
        path = self.folder_of(stage)
        return (files.read_any_json(path / name) if path else None) or {}

    def folder_of(self, stage: str) -> Path | None:
        """The folder of a stage's result under the present settings; None where that is not known yet."""
        return self.tables.folder(stage) if self.tables.current(stage) is not None else None

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The present settings as they are in config.yaml; empty where the file is missing."""
        found: Mapping[str, Any] = yaml.safe_load(self.config_text) or {}
        return found

    @cached_property
    def config_text(self) -> str:
        """config.yaml: the present settings; empty where the file is missing."""
        path = self.folder / "config.yaml"
        return path.read_text("utf-8") if path.is_file() else ""

    @cached_property
    def dataset(self) -> Mapping[str, Any]:
        """{root, classes, attributes, phrase, ...} as stored in dataset.json."""
        found: Mapping[str, Any] = self.json("dataset.json")
        return found

    @cached_property
    def samples(self) -> pa.Table:
        """The columns `SAMPLE_COLUMNS` of samples.parquet; without rows where the file is missing."""
        path = self.folder / "samples.parquet"
        if not path.is_file():
            return pa.table({name: pa.array([], pa.string()) for name in SAMPLE_COLUMNS})
        try:
            return pq.read_table(path, columns=list(SAMPLE_COLUMNS))
        except (pa.ArrowInvalid, OSError) as error:
            raise DDBError(f"{path}: damaged ({error}). `ddb run` writes it anew.") from error

    def image_paths(self, ids: Sequence[str]) -> dict[str, str]:
        """Sample id -> path of its image relative to the data folder, for those of `ids` that are known."""
        own = self.samples.filter(pc.is_in(self.samples["id"], pa.array(list(ids), pa.string())))
        return dict(zip(own["id"].to_pylist(), own["image"].to_pylist(), strict=True))

    def class_name(self, label: int | str) -> str:
        return _name(self.dataset.get("classes", ()), label, "class")

    def group_name(self, label: int | str, attribute: int | str | None) -> str:
        """ "landbird, lake"; the class alone where the attribute is unknown."""
        if attribute is None:
            return self.class_name(label)
        return f"{self.class_name(label)}, {self.attribute_name(attribute)}"

    def attribute_name(self, attribute: int | str) -> str:
        return _name(self.dataset.get("attributes", ()), attribute, "attribute")

    def direction_name(self, from_label: int, to_label: int) -> str:
        return f"{self.class_name(from_label)} → {self.class_name(to_label)}"

    def _is_finished(self, stage: str) -> bool:
        if self.tables.current(stage) is None:
            return False
        try:
            self.tables.table(stage, ["id"])
        except StageFailed:
            return False
        return True


def _name(names: Sequence[str], index: int | str, kind: str) -> str:
    if isinstance(index, str):
        return index
    return str(names[index]) if 0 <= index < len(names) else f"{kind} {index}"
