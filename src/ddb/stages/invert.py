"""Stage 2, invert: a token for every class, learned from its hardest images (paper, inversion; method sections 2, 3),
or given (`invert.tokens`).

The representatives are segmented here, so that the token is learned from the causal part and not from its background.
Artefacts: `token-<label>.safetensors`, diffusers' format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddb.backends import Failed, Image, Inverter, Learned, Lesson, Mask, Segmenter, Task
from ddb.backends.registry import (
    generator_identity,
    inversion_facts,
    open_generator,
    open_inverter,
    open_segmenter,
    segmentation_facts,
    segmenter_identity,
)
from ddb.config import InpaintConfig, InvertConfig, SegmentConfig
from ddb.context import Context, Models
from ddb.data.images import mask_png, png_bytes, read_image
from ddb.data.masks import region
from ddb.data.table import Dataset
from ddb.errors import DataError
from ddb.learn.seeds import seed_of
from ddb.learn.selection import representatives
from ddb.records import OK, TOKENS
from ddb.stage import Row, Stage, Tables, Worker

PREVIEWS = 4


def stage(
    dataset: Dataset,
    settings: InvertConfig,
    segmentation: SegmentConfig,
    painting: InpaintConfig,
    seed: int,
    device: str,
    precision: str,
) -> Stage:
    """A row per class. With copy-paste or without representatives no token is learned and nothing is loaded."""

    def open_worker(tables: Tables, folder: Path) -> Worker:
        context, models = Context(dataset, seed, device, precision, Path()), Models()
        inverter = open_inverter(settings, painting, context, models)
        studio = None
        if inverter is not None:
            studio = _Studio(inverter, open_segmenter(segmentation, context, models), context, models)
        work = _Inversion(dataset, settings, segmentation, painting, seed, tables, folder, studio)
        return lambda ids: [work.row(int(name)) for name in ids]

    return Stage(
        name="invert",
        schema=TOKENS,
        needs=("erm",),
        settings={
            "invert": inversion_facts(settings, dataset.classes),
            "segment": segmentation_facts(segmentation),
            "segmenter": segmenter_identity(segmentation, dataset.split("train")["image"].to_pylist()),
            "inpaint": painting.model_dump(
                mode="json", exclude={"per_class", "batch_size", "weights", "against", "variety", "paste"}
            ),
            "generator": generator_identity(painting),
            "phrase": dataset.phrase,
            "seed": seed,
            "precision": precision,
            "data": dataset.fingerprint,
        },
        plan=lambda tables: [str(label) for label in range(len(dataset.classes))],
        open=open_worker,
        batch_size=1,
    )


@dataclass(frozen=True)
class _Studio:
    inverter: Inverter
    segmenter: Segmenter
    context: Context
    models: Models


@dataclass(frozen=True)
class _Example:
    """A representative: its image, object mask and region (None where segmentation gave no usable one)."""

    image: Image
    object_mask: Mask
    region: Mask | None


@dataclass(frozen=True)
class _Inversion:
    dataset: Dataset
    settings: InvertConfig
    segmentation: SegmentConfig
    painting: InpaintConfig
    seed: int
    tables: Tables
    folder: Path
    studio: _Studio | None

    def row(self, label: int) -> Row:
        given = self.settings.tokens.get(self.dataset.classes[label])
        chosen = [] if given else self._representatives(label)
        row: Row = {"id": str(label), "label": label, "token": "", "file": "", "representatives": chosen}
        row |= {"masks": [b""] * len(chosen), "losses": [], "previews": [], "status": OK, "error": ""}
        if self.studio is None:
            return row
        if given:
            learned = self.studio.inverter.adopt(label, Path(given).expanduser(), self.folder)
            return row | self._token(self.studio, label, learned)
        if self.settings.representatives == 0:
            return row
        examples = self._examples(self.studio, chosen)
        if not examples:
            raise DataError(f"class {self.dataset.classes[label]}: no representative can be read; look at stage erm.")
        learned = self._learn(self.studio, label, list(examples.values()))
        masks = [mask_png(examples[name].object_mask) if name in examples else b"" for name in chosen]
        return row | {"masks": masks} | self._token(self.studio, label, learned)

    def _token(self, studio: _Studio, label: int, learned: Learned) -> Row:
        return {
            "token": learned.token,
            "file": learned.file.name,
            "losses": learned.losses,
            "previews": self._previews(studio, label, learned),
        }

    def _representatives(self, label: int) -> list[str]:
        predictions = self.tables.table("erm")
        return representatives(predictions, label, self.settings.representatives, self.settings.noise_quantile)

    def _examples(self, studio: _Studio, ids: Sequence[str]) -> dict[str, _Example]:
        """Readable images by id, segmented."""
        if not ids:
            return {}
        images: dict[str, Image] = {}
        paths = {name: self.dataset.samples["image"][self.dataset.rows[name]].as_py() for name in ids}
        for name in ids:
            try:
                images[name] = read_image(self.dataset.root, paths[name])
            except DataError:  # listed with its reason by stage erm, which reads every training image
                continue
        names, size = [paths[name] for name in images], self.segmentation.batch_size
        found = studio.segmenter.segment(names, list(images.values()), self.dataset.phrase, size)
        examples = {}
        for (name, image), one in zip(images.items(), found, strict=True):
            if isinstance(one, Failed):
                raise DataError(f"{name}: {one.reason}")
            area = region(one.mask, self.segmentation, self.dataset.phrase)
            examples[name] = _Example(image, one.mask, area.mask if area.status == OK else None)
        return examples

    def _learn(self, studio: _Studio, label: int, examples: Sequence[_Example]) -> Learned:
        """Learn from the examples with a usable region; from whole images only if none has one."""
        masked = [example for example in examples if example.region is not None]
        lesson = Lesson(
            label=label,
            images=[example.image for example in masked or examples],
            masks=[example.region for example in masked or examples],
            phrase=self.dataset.phrase,
            seed=seed_of(self.seed, "invert", label),
            objects=[example.object_mask for example in masked],
        )
        return studio.inverter.learn(lesson, self.folder)

    def _previews(self, studio: _Studio, label: int, learned: Learned) -> list[bytes]:
        """The token painted into hard images of the next class: what it brings with it, not what was there."""
        other = (label + 1) % len(self.dataset.classes)
        examples = self._examples(studio, self._representatives(other)[: 2 * PREVIEWS])
        usable = [(example.image, example.region) for example in examples.values() if example.region is not None]
        text = self.painting.template.format(token=learned.token, phrase=self.dataset.phrase)
        tasks = [
            Task(image, mask, label, text, seed_of(self.seed, "preview", label, number))
            for number, (image, mask) in enumerate(usable[:PREVIEWS])
        ]
        generator = open_generator(self.painting, studio.context, studio.models, {learned.token: learned.file})
        painted = generator.paint(tasks, PREVIEWS)
        return [png_bytes(one.image) for one in painted if not isinstance(one, Failed)]
