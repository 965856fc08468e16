"""READ FIRST. `audit` measures a trained classifier on a data set and changes nothing.

settings, data, model -> predictions -> masks -> composites, attribution, pairs of a run -> audit.html, audit.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddb import __version__
from ddb.auditing.groups import grouping
from ddb.auditing.images import Images, Look, Scene, drawn, open_masks, require_some
from ddb.auditing.measures.accuracy import accuracy
from ddb.auditing.measures.attribution import attribution, attributions
from ddb.auditing.measures.calibration import calibration
from ddb.auditing.measures.pairs import Pairs, pairs
from ddb.auditing.measures.parts import parts, take_apart
from ddb.auditing.measures.predictions import Predictions, predict_all
from ddb.auditing.predictors import Predictor
from ddb.auditing.predictors.matching import matched
from ddb.auditing.predictors.opening import Model, open_predictor
from ddb.auditing.predictors.options import ModelOptions
from ddb.auditing.record import About, Audit
from ddb.auditing.settings import Subject, default_out, settings_from, subject
from ddb.auditing.show.examples import Examples, examples
from ddb.auditing.show.output import write_audit
from ddb.auditing.show.words import figure_table
from ddb.config import RunConfig
from ddb.context import Context, Models
from ddb.data.counterfactuals import Counterfactuals
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.engine.workspace import Workspace
from ddb.errors import ConfigError
from ddb.learn.seeds import seed_of
from ddb.records import SPLITS

ATTRIBUTED = 64
"""Images whose attribution is computed, at most."""
DONORS = 512
"""Training images, over all classes, whose objects and surroundings are pasted, at most."""
NO_DONORS = "Object and surroundings were not taken apart: no training image of another class has a usable mask."


@dataclass(frozen=True)
class Asked:
    """`split` that is audited: train, val, test or all; `masked`: images for the measures that need masks, at most;
    `run`: a run folder with counterfactuals of the same data; `out`: folder of the results (None: runs/audit-NAME)."""

    split: str = "test"
    masked: int = 500
    run: Path | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.split not in (*SPLITS, "all"):
            raise ConfigError(f"split {self.split!r} is unknown; use {', '.join(SPLITS)} or all.")
        if self.masked < 1:
            raise ConfigError(f"{self.masked} images for the measures with masks: give 1 or more.")


@dataclass(frozen=True)
class Audited:
    """The figures, and the files they were written into."""

    found: Audit
    page: Path
    figures: Path

    def _repr_html_(self) -> str:
        return figure_table(self.found)


def audit(
    model: Model,
    data: RunConfig | Path | str,
    *,
    options: ModelOptions | None = None,
    asked: Asked | None = None,
    bars: Mapping[str, float] | None = None,
    say: Callable[[str], object] = print,
) -> Audited:
    """Audit a trained classifier and write audit.html and audit.json. Nothing is trained.

    `model`: a path or hub id, a loaded classifier, or a function from pixels, uint8 [N, S, S, 3], to probabilities
    [N, C], for which `options` name the classes and the size S. `data`: settings, or the folder (or table) of images,
    for which those of the preset `photos` are used. `bars`: see `ddb.auditing.bars`; they are shown, the caller decides
    what a missed one means. `say` gets lines of progress. DDBError says what prevents an audit."""
    options, asked, config = options or ModelOptions(), asked or Asked(), settings_from(data)
    what = subject(model, asked.run, asked.out or default_out("audit", config))
    say(f"{config.name}: reading the data")
    dataset = load_dataset(config.data, what.cache)
    opened = open_predictor(what.model, options, config.device)
    predictor = matched(opened, dataset.classes, options.class_map)
    found, shown = _Work(config, dataset, predictor, asked, what, say).measure()
    return Audited(found, *write_audit(found, shown, bars or {}, what.out))


@dataclass(frozen=True)
class _Work:
    """What the measures of one audit share."""

    config: RunConfig
    dataset: Dataset
    predictor: Predictor
    asked: Asked
    what: Subject
    say: Callable[[str], object]

    @property
    def images(self) -> Images:
        return Images(self.dataset, self.predictor.preprocessing)

    def measure(self) -> tuple[Audit, Examples]:
        predictions = self._predictions()
        rows = [self.dataset.rows[name] for name in predictions.ids]
        look, donors, note = self._scenes(predictions)
        self.say(f"measuring: {len(look.scenes)} images with masks, {sum(map(len, donors.values()))} donors")
        scenes, given = self._paired(look, donors)
        taken = take_apart(self.predictor, scenes, given) if scenes else None
        attributed = look.scenes[:: -(-len(look.scenes) // ATTRIBUTED)]
        maps = attributions(self.predictor, attributed)
        found = Audit(
            self._about(predictions, look, note),
            accuracy(predictions, self.dataset.classes, grouping(self.dataset), rows),
            calibration(predictions),
            parts(taken) if taken else None,
            attribution(attributed, maps, self.predictor.method),
            self._pairs(),
            () if taken else (NO_DONORS,),
        )
        by_id = dict(zip([scene.id for scene in attributed], maps, strict=True))
        return found, examples(scenes, given, taken, self.predictor.classes, by_id)

    def _predictions(self) -> Predictions:
        samples = self.dataset.samples if self.asked.split == "all" else self.dataset.split(self.asked.split)
        ids, labels = samples["id"].to_pylist(), samples["label"].to_numpy().astype(np.int64)
        self.say(f"predicting {len(ids):,} images ({self.predictor.description})")
        return predict_all(self.predictor, ids, labels, self.images.batches(ids))

    def _scenes(self, predictions: Predictions) -> tuple[Look, dict[int, tuple[Scene, ...]], str]:
        """Audited images and donors (training images, by class) with their masks, and where the masks come from."""
        config = self.config
        context = Context(
            self.dataset.without_attributes(), config.seed, config.device, config.precision, self.what.cache
        )
        masks = open_masks(config, self.dataset, context, Models())
        ids = drawn(predictions.ids, self.asked.masked, config.seed, "audit", "images")
        self.say(f"masks of {len(ids):,} images: {masks.note}")
        look = self.images.scenes(ids, masks)
        require_some(look, self.dataset.phrase, masks.note)
        train, donors = self.dataset.split("train"), {}
        each = max(1, DONORS // len(self.dataset.classes))
        for label in range(len(self.dataset.classes)):
            own = [
                name for name, y in zip(train["id"].to_pylist(), train["label"].to_pylist(), strict=True) if y == label
            ]
            chosen = drawn(own, each, config.seed, "audit", "donors", label)
            donors[label] = self.images.scenes(chosen, masks).scenes
        return look, donors, masks.note

    def _paired(self, look: Look, donors: dict[int, tuple[Scene, ...]]) -> tuple[list[Scene], list[Scene]]:
        """The images with a donor of another class each, drawn with the image's own seed."""
        scenes, given = [], []
        for scene in look.scenes:
            others = [label for label, found in donors.items() if found and label != scene.label]
            if others:
                rng = np.random.default_rng(seed_of(self.config.seed, "audit", "donor", scene.id))
                pool = donors[others[int(rng.integers(len(others)))]]
                scenes.append(scene)
                given.append(pool[int(rng.integers(len(pool)))])
        return scenes, given

    def _pairs(self) -> Pairs | None:
        if self.what.run is None:
            return None
        painted = Counterfactuals(Workspace.at(self.what.run), self.dataset.without_attributes())
        self.say(f"{len(painted):,} counterfactuals of {self.what.run}")
        return pairs(self.predictor, painted, self.dataset.classes)

    def _about(self, predictions: Predictions, look: Look, note: str) -> About:
        return About(
            name=self.config.name,
            model=f"{self.what.name} ({self.predictor.description})",
            data=str(self.dataset.root),
            split=self.asked.split,
            images=len(predictions.ids),
            classes=self.dataset.classes,
            phrase=self.dataset.phrase,
            masks=note,
            mask_statuses=dict(look.statuses.most_common()),
            run="" if self.what.run is None else str(self.what.run),
            seed=self.config.seed,
            ddb=__version__,
        )
