"""READ FIRST. `discover` takes a data set without attributes to what could be a shortcut in it.

    embed -> cluster -> association, errors -> naming -> groups.csv, discover.json, discover.html, a sheet a cluster
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddb.backends.registry import open_encoder, open_segmenter, reference_identities
from ddb.backends.segmenters.given_masks import masks_identity
from ddb.config import GivenMasksConfig, RunConfig
from ddb.config.marks import content_of, references_of
from ddb.context import Context, Models
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.discovery import embed as embedding
from ddb.discovery.facts import UNKNOWN, Facts, View
from ddb.discovery.findings import Finding, look_at
from ddb.discovery.naming import TEMPLATE, allowed
from ddb.discovery.vocabulary import read_vocabulary
from ddb.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ddb.backends.encoders.text_image import TextImageEncoder

VERSION = 1
"""Of the vectors; stored ones of another version are not used."""
TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Discovery:
    """`dataset` without its attributes; `surroundings` and `object`: findings of the two views, strongest first; `model`
    whose errors were tested, "" without one; `folder` that holds the files."""

    dataset: Dataset
    embedded: embedding.Embedded
    surroundings: tuple[Finding, ...]
    object: tuple[Finding, ...]
    model: str
    encoder: str
    folder: Path

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of the surroundings first."""
        return self.surroundings + self.object

    @property
    def groups(self) -> Path | None:
        """The groups.csv of the first finding; None: nothing was found."""
        return self.folder / "groups.csv" if self.findings else None


def discover(
    config: RunConfig,
    out: Path,
    *,
    model: str | None = None,
    say: Callable[[str], object] = print,
) -> Discovery:
    """Look for shortcuts in the data of a configuration and write what was found under `out`. No attribute is read.

    `model`: a trained classifier (see `ddb.backends.classifiers.adopted.adopt`), whose errors on the validation images
    are tested as well. `say` gets lines of progress. DDBError where data, masks, vocabulary or models cannot be used.
    """
    from ddb.discovery.output import write

    dataset = load_dataset(config.data.model_copy(update={"groups": ""}), out / "cache").without_attributes()
    words = _words(config, dataset)
    out.mkdir(parents=True, exist_ok=True)
    context, models = Context(dataset, config.seed, config.device, config.precision, out / "cache"), Models()
    encoder = open_encoder(config.discover, context, models)
    embedded = _embedded(config, context, models, encoder, out, say)
    wrong = np.full(len(dataset.samples), UNKNOWN) if model is None else _wrong(model, config, context)
    facts = Facts(
        labels=dataset.samples["label"].to_numpy().astype(np.int64),
        classes=len(dataset.classes),
        train=np.array(dataset.samples["split"].to_pylist()) == "train",
        wrong=wrong,
        words=words,
        texts=encoder.texts([TEMPLATE.format(word) for word in words], TEXTS_AT_ONCE),
    )
    views = (
        View("surroundings", embedded.surroundings, embedded.read, embedded.found),
        View("object", embedded.object, embedded.found, embedded.found),
    )
    around, objects = (tuple(look_at(view, facts, config.discover, config.seed)) for view in views)
    found = Discovery(dataset, embedded, around, objects, model or "", encoder.identity, out)
    write(found)
    return found


def _words(config: RunConfig, dataset: Dataset) -> list[str]:
    words = allowed(read_vocabulary(config.discover.vocabulary), [*dataset.classes, dataset.phrase])
    if len(words) < 2:
        raise ConfigError(
            f"discover.vocabulary: {len(words)} word(s) are left without those of the classes and of data.phrase; "
            "give words that could name surroundings."
        )
    return words


def _embedded(
    config: RunConfig,
    context: Context,
    models: Models,
    encoder: TextImageEncoder,
    out: Path,
    say: Callable[[str], object],
) -> embedding.Embedded:
    identity = _identity(config, context.dataset, encoder.identity)
    known = embedding.stored(out, identity)
    if known is not None:
        say("discover: the vectors of an earlier call are used")
        return known
    looking = embedding.Models(open_segmenter(config.segment, context, models), encoder, config.segment.batch_size)
    found = embedding.embed(context.dataset, looking, config.discover, say)
    embedding.store(out, identity, found)
    return found


def _identity(config: RunConfig, dataset: Dataset, encoder: str) -> str:
    """What the vectors depend on."""
    segment = {key: value for key, value in content_of(config, "segment").items() if key.startswith("segment.")}
    if isinstance(config.segment, GivenMasksConfig):
        weights = {"segment.masks": masks_identity(config.segment.masks, dataset.samples["image"].to_pylist())}
    else:
        names = [name for name in references_of(config, "segment") if name.startswith("segment.")]
        weights = reference_identities(config, names, dataset)
    facts = [VERSION, dataset.content, dataset.phrase, segment, weights, encoder, config.discover.hole]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _wrong(model: str, config: RunConfig, context: Context) -> npt.NDArray[np.int64]:
    """1 where the model is wrong on a validation image, 0 where it is right, UNKNOWN on other images."""
    from ddb.backends.classifiers.adopted import adopt
    from ddb.data.stores.pixel_store import pixel_store
    from ddb.learn.device import open_accelerator
    from ddb.learn.predict import logits

    dataset = context.dataset
    loaded = adopt(model, dataset.classes)
    val = dataset.split("val")
    pixels = pixel_store(dataset, val["id"].to_pylist(), loaded.card.preprocessing, context.cache)
    runtime = open_accelerator(context.device, context.precision).exact()
    outputs = logits(loaded.classifier, pixels, runtime, config.discover.batch_size)
    if not np.isfinite(outputs).all():
        raise DataError(f"{model}: its outputs on validation images are not finite; the weights may be damaged.")
    wrong = np.full(len(dataset.samples), UNKNOWN)
    rows = [dataset.rows[name] for name in val["id"].to_pylist()]
    wrong[rows] = outputs.argmax(axis=1) != val["label"].to_numpy()
    return wrong
