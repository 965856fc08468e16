"""What the report reads of a run folder. Everything may be absent: the page then says less, it never fails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pd

from ddb.engine.workspace import Workspace
from ddb.stage import Row

STAGES = ("erm", "invert", "segment", "inpaint", "score", "prune", "retrain", "evaluate")


@dataclass(frozen=True)
class Run:
    """A run folder, read only. `names` turns class and attribute numbers into words."""

    folder: Path

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace.at(self.folder)

    def rows(self, stage: str, columns: Sequence[str], ids: Sequence[str] | None = None) -> list[Row]:
        """Rows of a stage so far (all, or those of `ids` in that order), with `id`; empty where it has not begun."""
        if stage not in self.workspace.stages:
            return []
        names = list(dict.fromkeys(("id", *columns)))
        if ids is None:
            return list(self.workspace.rows(stage, names).values())
        found = self._matching(stage, names, pc.field("id").isin(pa.array(ids, pa.string())))
        return [found[key] for key in ids if key in found]

    def ids_with(self, stage: str, column: str) -> set[str]:
        """Ids of the rows whose `column` is not null, found without holding that column in memory."""
        if stage not in self.workspace.stages:
            return set()
        return set(self._matching(stage, ["id"], pc.field(column).is_valid()))

    def _matching(self, stage: str, columns: list[str], wanted: pc.Expression) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for part in self.workspace.parts(stage):
            rows = pd.dataset(part, format="parquet").to_table(columns=columns, filter=wanted).to_pylist()
            found.update({row["id"]: row for row in rows})
        return found

    def done(self, stage: str) -> bool:
        return stage in self.workspace.stages and self.workspace.done(stage) is not None

    def json(self, name: str) -> Any:
        """A JSON file of the run folder, or of a stage ("prune/summary.json"); an empty object where there is none."""
        stage, _, file = name.rpartition("/")
        if stage and stage not in self.workspace.stages:
            return {}
        path = self.workspace.folder(stage) / file if stage else self.folder / file
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    @cached_property
    def config_text(self) -> str:
        path = self.folder / "config.yaml"
        return path.read_text("utf-8") if path.is_file() else ""

    @cached_property
    def dataset(self) -> Mapping[str, Any]:
        """{root, classes, attributes, phrase, ...} as the pipeline stored it."""
        found: Mapping[str, Any] = self.json("dataset.json")
        return found

    @cached_property
    def samples(self) -> dict[str, Row]:
        """Sample id -> its row; empty where the pipeline has not stored the table."""
        path = self.folder / "samples.parquet"
        if not path.is_file():
            return {}
        return {row["id"]: row for row in pd.dataset(path).to_table().to_pylist()}

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


def _name(names: Sequence[str], index: int | str, kind: str) -> str:
    if isinstance(index, str):
        return index
    return str(names[index]) if 0 <= index < len(names) else f"{kind} {index}"
