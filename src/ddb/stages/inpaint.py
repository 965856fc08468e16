"""Stage 4, inpaint: counterfactuals. The causal part of a source is repainted as another class; the rest stays.

Planned: the usable sources of every direction within its budget (variant 0), then the candidates that `retry` adds. The
seed of a candidate is a hash of the run's seed, source, target and variant, so it can be painted again alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ddb.backends import Failed, Generator, Image, Mask, Painted, Task
from ddb.backends.registry import model_names, open_generator, open_segmenter, painting_values
from ddb.config import InpaintConfig, LatentDiffusionConfig, SegmentConfig
from ddb.config.inpaint import AUTO_BATCH
from ddb.context import Context, Models
from ddb.data.images import read_image, read_mask
from ddb.data.patches import patch_of
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.learn.seeds import seed_of
from ddb.learn.selection import PerClass, budgets, majority, targets
from ddb.records import CANDIDATES, OK, candidate_id, candidate_title, split_candidate_id
from ddb.stage import Batch, Fixed, Need, Phased, Row, Stage, Tables, Worker
from ddb.stages.slots import Filled, failed_row, filled, given

Retry = Callable[[Tables], list[tuple[str, int]]]
"""(source_id, variant) of later rounds, for every target of the source's class."""


def stage(
    context: Context,
    settings: InpaintConfig,
    segmentation: SegmentConfig,
    content: Mapping[str, object],
    extent: Mapping[str, object],
    retry: Retry | None = None,
) -> Stage:
    """A row per counterfactual. `segmentation` finds the painted object in the output where `settings.paste` needs
    it."""
    objects, size = settings.paste == "objects", settings.batch_size

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        tokens = _tokens(tables)
        files = {token: tables.folder("invert") / file for token, file in tokens.values() if token}
        generator = open_generator(settings, context, models, files, fixed.compiled)
        if objects:
            from ddb.backends.generators.objects_only import ObjectsOnly

            segmenter = open_segmenter(segmentation, context, models)
            generator = ObjectsOnly(generator, segmenter, context.dataset.phrase, settings.feather)
        names = {label: token for label, (token, _) in tokens.items()}
        painter = _Painter(context, settings, tables, generator, names, fixed.batch_size)
        return Phased(painter.read, painter.compute, painter.rows)

    def choose(models: Models, planned: int, fixed: Fixed) -> Fixed:
        batch_size, compiled = painting_values(settings, context, models, planned)
        return replace(fixed, batch_size=batch_size, compiled=compiled)

    return Stage(
        name="inpaint",
        schema=CANDIDATES,
        needs={
            "erm": Need.PLAN,
            "segment": Need.TABLE if settings.backend == "copy_paste" else Need.ROWS,  # donors are any of its rows
            "invert": Need.TABLE,
        },
        content={**content, "data": context.dataset.identity(["train"])},
        extent=extent,
        plan=lambda tables: plan(context.dataset, tables, settings.per_class, retry),
        open=open_worker,
        batch_size=AUTO_BATCH if size == "auto" else size,
        models=(*model_names(settings), *(model_names(segmentation) if objects else ())),
        choose=choose,
        chosen=("batch_size", "compiled") if size == "auto" else ("compiled",),
        title=lambda name: candidate_title(name, context.dataset.classes),
    )


def plan(dataset: Dataset, tables: Tables, per_class: PerClass, retry: Retry | None) -> list[str]:
    """Candidate ids: direction by direction, lowest ERM loss first; then those of `retry`."""
    predictions, classes = tables.table("erm"), len(dataset.classes)
    masks = tables.table("segment", ["id", "status"]).to_pylist()
    usable = {row["id"] for row in masks if row["status"] == OK}
    ids = [
        candidate_id(name, to, 0)
        for (label, to), count in budgets(predictions, classes, per_class).items()
        for name in majority(predictions, label, count)
        if name in usable
    ]
    labels = dict(zip(dataset.samples["id"].to_pylist(), dataset.samples["label"].to_pylist(), strict=True))
    for name, variant in retry(tables) if retry else []:
        ids += [candidate_id(name, to, variant) for to in targets(predictions, labels[name], classes)]
    return list(dict.fromkeys(ids))


@dataclass(frozen=True)
class _Painter:
    """The phases of the stage's worker: candidate ids -> tasks -> paintings -> rows."""

    context: Context
    settings: InpaintConfig
    tables: Tables
    generator: Generator
    tokens: Mapping[int, str]
    batch_size: int

    def read(self, batch: Batch) -> tuple[Filled[Task], Any]:
        """The batch's tasks, and the model's inputs."""
        tasks = filled(batch, lambda name: self._task(*split_candidate_id(name)))
        return tasks, self.generator.prepare(given(tasks.slots))

    def compute(self, prepared: tuple[Filled[Task], Any]) -> tuple[Filled[Task], Any]:
        """The tasks, and the model's outputs."""
        tasks, inputs = prepared
        return tasks, self.generator.paint(inputs, self.batch_size)

    def rows(self, painted: tuple[Filled[Task], Any]) -> list[Row]:
        """The batch's rows."""
        tasks, outputs = painted
        results = self.generator.finish(outputs)
        return tasks.rows(lambda slot, name: self._row(name, tasks.slots[slot], results[slot]))

    @property
    def dataset(self) -> Dataset:
        return self.context.dataset

    @cached_property
    def _labels(self) -> list[int]:
        labels: list[int] = self.dataset.samples["label"].to_pylist()
        return labels

    @cached_property
    def _donors(self) -> dict[int, list[str]]:
        """Sources of each class with a usable object mask."""
        table = self.tables.table("segment", ["id", "status"])
        usable = table.filter(pc.equal(table["status"], OK))["id"].to_pylist()
        donors: dict[int, list[str]] = {label: [] for label in range(len(self.dataset.classes))}
        for name in usable:
            donors[self._label(name)].append(name)
        return donors

    def _label(self, source: str) -> int:
        return self._labels[self.dataset.rows[source]]

    def _task(self, source: str, to_label: int, variant: int) -> Task:
        seed = seed_of(self.context.seed, source, to_label, variant)
        settings = self.settings
        away = isinstance(settings, LatentDiffusionConfig) and settings.against == "source"
        return Task(
            image=self._image(source),
            mask=self._mask("mask", source),
            to_label=to_label,
            prompt=prompt(settings, self.tokens, self.dataset, to_label, self._word(source, to_label)),
            seed=seed,
            donor=self._donor(to_label, seed) if self.generator.wants_donor else None,
            old=self._mask("object_mask", source),
            against=prompt(settings, self.tokens, self.dataset, self._label(source)) if away else "",
        )

    def _word(self, source: str, to_label: int) -> str:
        """The word of `variety` for a counterfactual, the same for all its variants."""
        variety = self.settings.variety
        return variety[seed_of(self.context.seed, "variety", source, to_label) % len(variety)] if variety else ""

    def _donor(self, label: int, seed: int) -> tuple[Image, Mask]:
        pool = self._donors[label]
        if not pool:
            name = self.dataset.classes[label]
            raise DataError(f"no image of class {name} has a usable object mask to copy from; look at stage segment.")
        chosen = pool[int(np.random.default_rng(seed).integers(len(pool)))]
        return self._image(chosen), self._mask("object_mask", chosen)

    def _image(self, name: str) -> Image:
        return read_image(self.dataset.root, self.dataset.samples["image"][self.dataset.rows[name]].as_py())

    def _mask(self, column: str, name: str) -> Mask:
        return read_mask(next(iter(self.tables.payload("segment", column, [name]))))

    def _row(self, name: str, task: Task | None, result: Painted | Failed) -> Row:
        if isinstance(result, Failed):
            return failed_row(name, result)
        assert task is not None, "an empty slot has no result"
        box, patch = patch_of(task.image, result.image, result.changed)
        height, width = task.mask.shape
        return {
            **origin(name, self.dataset),
            "seed": task.seed,
            "box": list(box),
            "height": height,
            "width": width,
            "patch": patch,
            "prompt": task.prompt,
            "model": self.generator.identity,
            "status": OK,
            "error": "",
        }


def origin(name: str, dataset: Dataset) -> Row:
    """The columns of a counterfactual that its name and its source decide, whatever paints it."""
    source, to_label, variant = split_candidate_id(name)
    return {
        "id": name,
        "source_id": source,
        "source_sha256": dataset.sha256(source),
        "from_label": dataset.samples["label"][dataset.rows[source]].as_py(),
        "to_label": to_label,
        "variant": variant,
    }


def prompt(settings: InpaintConfig, tokens: Mapping[int, str], dataset: Dataset, label: int, word: str = "") -> str:
    """The prompt of a class: with its token, or with its name where none was learned; `word` (of `variety`) first."""
    name = re.sub(r"[<>_\s]+", " ", dataset.classes[label]).strip()
    token = f"{word} {tokens.get(label, '') or name}".strip()
    return settings.template.format(token=token, phrase=dataset.phrase)


def _tokens(tables: Tables) -> dict[int, tuple[str, str]]:
    """Label -> token and its file ("" where none was learned)."""
    rows = tables.table("invert", ["label", "token", "file", "status"]).to_pylist()
    return {row["label"]: (row["token"], row["file"]) for row in rows if row["status"] == OK}
