"""Stage 4, inpaint: counterfactuals. The causal part of a source is repainted as another class; the rest stays.

Planned: every usable source of every direction within its budget (variant 0), then what `retry` asks for. A
candidate's seed is a hash of the run's seed, source, target and variant: any image can be made again alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddb.backends import Failed, Generator, Image, Mask, Painted, Task
from ddb.backends.generators.objects_only import ObjectsOnly
from ddb.backends.registry import (
    generator_identity,
    open_generator,
    open_segmenter,
    segmentation_facts,
    segmenter_identity,
)
from ddb.config import InpaintConfig, SegmentConfig
from ddb.context import Context, Models
from ddb.data.images import mask_png, png_bytes, read_image, read_mask
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.learn.seeds import seed_of
from ddb.learn.selection import PerClass, budgets, majority, targets
from ddb.records import CANDIDATES, ERROR, OK, candidate_id
from ddb.stage import Row, Stage, Tables, Worker

Retry = Callable[[Tables], list[tuple[str, int]]]
"""(source_id, variant) of later rounds, for every target of the source's class."""


def stage(
    dataset: Dataset,
    settings: InpaintConfig,
    segmentation: SegmentConfig,
    seed: int,
    device: str,
    precision: str,
    retry: Retry | None = None,
) -> Stage:
    """A row per counterfactual. `segmentation` finds the new objects where `settings.paste` asks for them."""
    objects = settings.paste == "objects"

    def open_worker(tables: Tables, folder: Path) -> Worker:
        tokens = _tokens(tables)
        files = {token: tables.folder("invert") / file for token, file in tokens.values() if token}
        context, models = Context(dataset, seed, device, precision, Path()), Models()
        generator = open_generator(settings, context, models, files)
        if objects:
            segmenter = open_segmenter(segmentation, context, models)
            generator = ObjectsOnly(generator, segmenter, dataset.phrase, settings.feather)
        return _Painter(dataset, settings, seed, tables, generator, {label: t for label, (t, _) in tokens.items()})

    return Stage(
        name="inpaint",
        schema=CANDIDATES,
        needs=("erm", "segment", "invert"),
        settings={
            "inpaint": settings.model_dump(mode="json", exclude={"per_class", "weights"}),
            "generator": generator_identity(settings),
            "segmenter": [segmenter_identity(segmentation, ()), segmentation_facts(segmentation)] if objects else [],
            "phrase": dataset.phrase,
            "seed": seed,
            "precision": precision,
            "data": dataset.fingerprint,
        },
        plan=lambda tables: plan(dataset, tables, settings.per_class, retry),
        open=open_worker,
        batch_size=settings.batch_size,
    )


def plan(dataset: Dataset, tables: Tables, per_class: PerClass, retry: Retry | None) -> list[str]:
    """Candidate ids: direction by direction, lowest ERM loss first; retries after them."""
    predictions, classes = tables.table("erm"), len(dataset.classes)
    masks = tables.table("segment").select(["id", "status"]).to_pylist()
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


def split_id(name: str) -> tuple[str, int, int]:
    """Source id, target label and variant of a candidate's id."""
    head, _, variant = name.rpartition("#")
    source, _, to_label = head.rpartition(">")
    return source, int(to_label), int(variant)


@dataclass(frozen=True)
class _Sample:
    path: str
    label: int


class _Painter:
    """The worker: candidate ids to rows."""

    def __init__(
        self,
        dataset: Dataset,
        settings: InpaintConfig,
        seed: int,
        tables: Tables,
        generator: Generator,
        tokens: Mapping[int, str],
    ) -> None:
        columns = (dataset.samples[name].to_pylist() for name in ("id", "image", "label"))
        self.samples = {name: _Sample(path, label) for name, path, label in zip(*columns, strict=True)}
        found = [row for row in tables.table("segment").to_pylist() if row["status"] == OK]
        self.masks: dict[str, bytes] = {row["id"]: row["mask"] for row in found}
        self.objects: dict[str, bytes] = {row["id"]: row["object_mask"] for row in found}
        self.dataset, self.settings, self.seed = dataset, settings, seed
        self.generator, self.tokens = generator, tokens
        labels = range(len(dataset.classes))
        self.donors = {label: [name for name in self.objects if self.samples[name].label == label] for label in labels}

    def __call__(self, ids: list[str]) -> list[Row]:
        tasks: dict[str, Task] = {}
        rows: dict[str, Row] = {}
        for name in ids:
            try:
                tasks[name] = self._task(*split_id(name))
            except DataError as error:
                rows[name] = {"id": name, "status": ERROR, "error": str(error)}
        painted = self.generator.paint(list(tasks.values()), self.settings.batch_size)
        for (name, task), result in zip(tasks.items(), painted, strict=True):
            failed = isinstance(result, Failed)
            rows[name] = (
                {"id": name, "status": ERROR, "error": result.reason} if failed else self._row(name, task, result)
            )
        return [rows[name] for name in ids]

    def _task(self, source: str, to_label: int, variant: int) -> Task:
        seed = seed_of(self.seed, source, to_label, variant)
        return Task(
            image=self._image(source),
            mask=read_mask(self.masks[source]),
            to_label=to_label,
            prompt=self._prompt(to_label, self._word(source, to_label)),
            seed=seed,
            donor=self._donor(to_label, seed) if self.generator.wants_donor else None,
            old=read_mask(self.objects[source]),
            against=self._prompt(self.samples[source].label) if self.settings.against == "source" else "",
        )

    def _word(self, source: str, to_label: int) -> str:
        """The word of `variety` for a counterfactual, the same for all its variants."""
        variety = self.settings.variety
        return variety[seed_of(self.seed, "variety", source, to_label) % len(variety)] if variety else ""

    def _prompt(self, label: int, word: str = "") -> str:
        return prompt(self.settings, self.tokens.get(label, ""), self.dataset, label, word)

    def _donor(self, label: int, seed: int) -> tuple[Image, Mask]:
        pool = self.donors[label]
        if not pool:
            name = self.dataset.classes[label]
            raise DataError(f"no image of class {name} has a usable object mask to copy from; look at stage segment.")
        chosen = pool[int(np.random.default_rng(seed).integers(len(pool)))]
        return self._image(chosen), read_mask(self.objects[chosen])

    def _image(self, name: str) -> Image:
        return read_image(self.dataset.root, self.samples[name].path)

    def _row(self, name: str, task: Task, result: Painted) -> Row:
        source, to_label, variant = split_id(name)
        return {
            "id": name,
            "source_id": source,
            "from_label": self.samples[source].label,
            "to_label": to_label,
            "variant": variant,
            "seed": task.seed,
            "image": png_bytes(result.image),
            "changed": mask_png(result.changed),
            "prompt": task.prompt,
            "model": self.generator.identity,
            "status": OK,
            "error": "",
        }


def prompt(settings: InpaintConfig, token: str, dataset: Dataset, label: int, word: str = "") -> str:
    """The prompt of a class: with its token, or with its name where none was learned; `word` (of `variety`) first."""
    name = re.sub(r"[<>_\s]+", " ", dataset.classes[label]).strip()
    return settings.template.format(token=f"{word} {token or name}".strip(), phrase=dataset.phrase)


def _tokens(tables: Tables) -> dict[int, tuple[str, str]]:
    """Label -> token and its file ("" where none was learned)."""
    rows: list[dict[str, Any]] = tables.table("invert").to_pylist()
    return {row["label"]: (row["token"], row["file"]) for row in rows if row["status"] == OK}
