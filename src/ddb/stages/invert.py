"""Stage 2, invert: a token for every class, learned from its hardest images (paper, inversion; method sections 2, 3),
or given (`invert.tokens`).

The representatives are segmented here, so that the token is learned from the causal part and not from its background.
Artefacts: `token-<label>.safetensors`, diffusers' format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ddb.backends import Failed, Image, Inverter, Learned, Lesson, Mask, Segmenter
from ddb.backends.registry import model_names, open_inverter, open_segmenter
from ddb.config import InpaintConfig, InvertConfig, SegmentConfig
from ddb.context import Context, Models
from ddb.data.images import mask_png, read_image
from ddb.data.masks import region
from ddb.errors import DataError, ModelError, StageFailed
from ddb.learn.seeds import seed_of
from ddb.learn.selection import representatives
from ddb.records import OK, TOKENS
from ddb.stage import Batch, Fixed, Need, Row, Stage, Tables, Worker

SEGMENTED_AT_ONCE = 16
"""Batch size of the segmenter: a constant, since the last bits of masks depend on it."""


@dataclass(frozen=True)
class Learning:
    """Settings of the sections that inversion reads."""

    invert: InvertConfig
    segment: SegmentConfig
    inpaint: InpaintConfig


def stage(context: Context, settings: Learning, content: Mapping[str, object]) -> Stage:
    """A row per class. With backend copy_paste, or without representatives, no token is learned and no model is
    loaded."""

    def open_worker(models: Models, tables: Tables, folder: Path, fixed: Fixed) -> Worker:
        inverter = open_inverter(settings.invert, settings.inpaint, context, models)
        segmenter = None if inverter is None else open_segmenter(settings.segment, context, models)
        work = _Inversion(context, settings, tables, folder, inverter, segmenter)

        def rows(batch: Batch) -> list[Row]:
            return [work.row(int(name)) for name in batch if name is not None]

        return rows

    return Stage(
        name="invert",
        schema=TOKENS,
        needs={"erm": Need.TABLE},
        content={**content, "data": context.dataset.identity(["train"])},
        plan=lambda tables: [str(label) for label in range(len(context.dataset.classes))],
        open=open_worker,
        batch_size=1,
        models=(*model_names(settings.inpaint), *model_names(settings.segment)),
        title=lambda label: f"class {context.dataset.classes[int(label)]}",
    )


@dataclass(frozen=True)
class _Example:
    """A representative: its image, object mask and region to repaint (None where segmentation found none that is
    usable)."""

    image: Image
    object_mask: Mask
    region: Mask | None


@dataclass(frozen=True)
class _Inversion:
    context: Context
    settings: Learning
    tables: Tables
    folder: Path
    inverter: Inverter | None
    segmenter: Segmenter | None

    def row(self, label: int) -> Row:
        name = self.context.dataset.classes[label]
        given = self.settings.invert.tokens.get(name)
        chosen = [] if given else self._representatives(label)
        row: Row = {"id": str(label), "label": label, "token": "", "file": "", "representatives": chosen}
        row |= {"masks": [b""] * len(chosen), "losses": [], "status": OK, "error": ""}
        if self.inverter is None:
            return row
        if given:
            with _named(name):
                return row | _token(self.inverter.adopt(label, Path(given).expanduser(), self.folder))
        if self.settings.invert.representatives == 0:
            return row
        examples = self._examples(chosen)
        if not examples:
            raise DataError(f"class {name}: no representative can be read; look at stage erm.")
        with _named(name):
            learned = self._learn(self.inverter, label, list(examples.values()))
        masks = [mask_png(examples[name].object_mask) if name in examples else b"" for name in chosen]
        return row | {"masks": masks} | _token(learned)

    def _representatives(self, label: int) -> list[str]:
        predictions, settings = self.tables.table("erm"), self.settings.invert
        return representatives(predictions, label, settings.representatives, settings.noise_quantile)

    def _examples(self, ids: Sequence[str]) -> dict[str, _Example]:
        """Segmented images by id, without those that cannot be read or segmented."""
        dataset, images = self.context.dataset, {}
        paths = {name: dataset.samples["image"][dataset.rows[name]].as_py() for name in ids}
        for name in ids:
            try:
                images[name] = read_image(dataset.root, paths[name])
            except DataError:  # listed with its reason by stage erm, which reads every training image
                continue
        assert self.segmenter is not None, "opened with the inverter"
        names = [paths[name] for name in images]
        found = self.segmenter.segment(names, list(images.values()), dataset.phrase, SEGMENTED_AT_ONCE)
        examples = {}
        for (name, image), one in zip(images.items(), found, strict=True):
            if not isinstance(one, Failed):
                area = region(one.mask, self.settings.segment, dataset.phrase)
                examples[name] = _Example(image, one.mask, area.mask if area.status == OK else None)
        return examples

    def _learn(self, inverter: Inverter, label: int, examples: Sequence[_Example]) -> Learned:
        """Learn from the examples with a usable region; if none has one, from whole images."""
        masked = [example for example in examples if example.region is not None]
        lesson = Lesson(
            label=label,
            images=[example.image for example in masked or examples],
            masks=[example.region for example in masked or examples],
            phrase=self.context.dataset.phrase,
            seed=seed_of(self.context.seed, "invert", label),
            objects=[example.object_mask for example in masked],
        )
        return inverter.learn(lesson, self.folder)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the name of the class before the message of an error: a token's own name holds its number alone."""
    try:
        yield
    except (DataError, ModelError, StageFailed) as error:
        error.args = (f"class {name}: {error}",)
        raise


def _token(learned: Learned) -> Row:
    return {"token": learned.token, "file": learned.file.name, "losses": learned.losses}
