"""READ FIRST. `explain` says what a classifier leans on in single images.

image, mask -> prediction -> composites with training images -> contributions, twins, neighbours -> a sentence
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ddb.auditing.explain.asked_images import AskedImage, asked_image
from ddb.auditing.explain.neighbours import Neighbourhood, neighbourhood
from ddb.auditing.explain.record import Contributions, Explanation, Twins
from ddb.auditing.explain.sentence import sentence
from ddb.auditing.explain.twins import exact_contributions, integrated_contributions, taken_apart, twins
from ddb.auditing.groups import discovered_name
from ddb.auditing.images import Images, Masked, Masks, Scene, drawn, masked, open_masks
from ddb.auditing.measures.parts import OTHER_OBJECT, OTHER_SURROUNDINGS
from ddb.auditing.predictors import Predictor
from ddb.auditing.predictors.matching import matched
from ddb.auditing.predictors.opening import Model, open_predictor
from ddb.auditing.predictors.options import ModelOptions
from ddb.auditing.settings import default_out, settings_from, subject
from ddb.auditing.show.explained import write_explanations
from ddb.backends.registry import open_segmenter
from ddb.config import GivenMasksConfig, RunConfig
from ddb.context import Context, Models
from ddb.data.composites import has_surroundings
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.errors import ConfigError
from ddb.report.contact_sheet import outlined
from ddb.report.thumbnails import data_uri

DONORS = 8
TRIED = 4 * DONORS
"""Training images of the contrasting class whose masks are looked at, to find `DONORS` usable ones."""
SEARCHED = 2000
"""Training images among which neighbours are looked for, at most."""


@dataclass(frozen=True)
class Explained:
    """The explanations, in the order asked, and the files they were written into."""

    found: tuple[Explanation, ...]
    page: Path
    figures: Path


def explain(
    model: Model,
    images: Sequence[str | Path],
    data: RunConfig | Path | str,
    *,
    options: ModelOptions | None = None,
    out: Path | None = None,
    say: Callable[[str], object] = print,
) -> Explained:
    """Explain the predictions of `model` on single images and write explain.html and explain.json.

    `model`, `options` and `data`: as for `ddb.audit`. `images`: paths of files, or ids of samples. Training images of
    the data lend the other object and the other surroundings. `out`: folder of the results (None: runs/explain-NAME).
    `say` gets lines of progress. DDBError says what prevents it."""
    options, config = options or ModelOptions(), settings_from(data)
    what = subject(model, None, out or default_out("explain", config))
    if not images:
        raise ConfigError("no image is named.")
    say(f"{config.name}: reading the data")
    dataset = load_dataset(config.data, what.cache)
    asked = [asked_image(str(image), dataset, config.data.max_megapixels) for image in images]
    predictor = matched(open_predictor(what.model, options, config.device), dataset.classes, options.class_map)
    work = _Work(config, dataset, predictor, what.cache, say)
    found = tuple(work.explain(one) for one in asked)
    facts = {
        "model": f"{what.name} ({predictor.description})",
        "space": predictor.space,
        "phrase": dataset.phrase,
        "data": str(dataset.root),
        "searched": len(work.neighbourhood.ids),
        "masks": work.masks.note,
    }
    return Explained(found, *write_explanations(found, facts, what.out))


@dataclass(frozen=True)
class _Work:
    """What the explanations share."""

    config: RunConfig
    dataset: Dataset
    predictor: Predictor
    cache: Path
    say: Callable[[str], object]
    _donors: dict[int, tuple[Scene, ...]] = field(default_factory=dict)

    @cached_property
    def images(self) -> Images:
        return Images(self.dataset, self.predictor.preprocessing)

    @cached_property
    def masks(self) -> Masks:
        return open_masks(self.config, self.dataset, self._context, self._models)

    @cached_property
    def neighbourhood(self) -> Neighbourhood:
        ids = drawn(self.dataset.split("train")["id"].to_pylist(), SEARCHED, self.config.seed, "explain", "neighbours")
        self.say(f"features of {len(ids):,} training images")
        return neighbourhood(self.predictor, self.images, ids)

    def explain(self, asked: AskedImage) -> Explanation:
        self.say(f"explaining {asked.name}")
        own = self._masked(asked)
        (probabilities,) = self.predictor.predict(own.pixels[None])
        top = int(probabilities.argmax())
        contrast = self._contrast(asked, probabilities, top)
        scene = Scene(asked.sample or asked.name, top, own.pixels, own.mask)
        shares, thing, around = self._parts(scene, top, contrast)
        classes, dataset = self.predictor.classes, self.dataset
        named = "" if asked.sample is None else discovered_name(dataset, asked.sample)
        predicted = (classes[top], float(probabilities[top]))
        return Explanation(
            id=asked.name,
            name="" if asked.sample is None else dataset.classes[self.images.label(asked.sample)],
            surroundings=named,
            predicted=predicted[0],
            probability=predicted[1],
            probabilities={classes[k]: float(probabilities[k]) for k in np.argsort(-probabilities)[:5].tolist()},
            contrast=classes[contrast],
            mask=own.status,
            contributions=shares,
            other_object=thing,
            other_surroundings=around,
            neighbours=self.neighbourhood.nearest(self.predictor, own.pixels, asked.sample or ""),
            sentence=sentence(predicted, dataset.phrase, around, thing, named, shares),
            picture=data_uri(own.pixels),
            outline=data_uri(outlined(own.pixels, own.mask)),
        )

    def _parts(self, scene: Scene, top: int, contrast: int) -> tuple[Contributions | None, Twins | None, Twins | None]:
        """Contributions, and the twins with another object and with other surroundings."""
        if not scene.mask.any():
            return None, None, None
        donors = [one for one in self._donors_of(contrast) if one.id != scene.id][:DONORS]
        if not donors or not has_surroundings(scene.mask):
            return integrated_contributions(self.predictor, scene.pixels, scene.mask, top), None, None
        taken = taken_apart(self.predictor, scene, donors)
        names = [discovered_name(self.dataset, donor.id) for donor in donors]
        thing, around = (
            twins(kind, taken, scene, donors, self.predictor.classes, names)
            for kind in (OTHER_OBJECT, OTHER_SURROUNDINGS)
        )
        return exact_contributions(taken, top), thing, around

    def _contrast(self, asked: AskedImage, probabilities: np.ndarray, top: int) -> int:
        """The class whose objects and surroundings are lent: the image's own where it is predicted as another one, else
        the most probable other class of the data."""
        own = None if asked.sample is None else self.images.label(asked.sample)
        if own is not None and own != top:
            return own
        known = [label for label in range(len(self.dataset.classes)) if label != top]
        return max(known, key=lambda label: float(probabilities[label]))

    def _donors_of(self, label: int) -> tuple[Scene, ...]:
        if label not in self._donors:
            train = self.dataset.split("train")
            ids, labels = train["id"].to_pylist(), train["label"].to_pylist()
            own = [name for name, y in zip(ids, labels, strict=True) if y == label]
            chosen = drawn(own, TRIED, self.config.seed, "explain", "donors", label)
            self._donors[label] = self.images.scenes(chosen, self.masks).scenes
        return self._donors[label]

    def _masked(self, asked: AskedImage) -> Masked:
        masks = self.masks if asked.sample is not None else self._masks_elsewhere
        path = asked.name if asked.sample is None else self.images.path(asked.sample)
        (found,) = masked([path], [asked.pixels], masks, self.dataset.phrase, self.predictor.preprocessing)
        return found

    @cached_property
    def _masks_elsewhere(self) -> Masks:
        """Masks of images that are not in the data set: no file is given for them."""
        settings = self.config.segment
        if isinstance(settings, GivenMasksConfig):
            raise ConfigError(
                "an image that is not in the data set has no given mask: name a segmenter with --set "
                "segment.backend=clipseg (docs/segmenters.md)."
            )
        return Masks(open_segmenter(settings, self._context, self._models), settings, settings.backend)

    @cached_property
    def _context(self) -> Context:
        config = self.config
        return Context(self.dataset.without_attributes(), config.seed, config.device, config.precision, self.cache)

    @cached_property
    def _models(self) -> Models:
        return Models()
