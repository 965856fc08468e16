"""READ FIRST. `discover` takes a data set without attributes to what could be a shortcut in it.

embed -> cluster -> association, errors -> naming -> groups.csv, discover.json, discover.html, a sheet a cluster
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddb.backends.registry import encoder_weights, open_encoder, open_segmenter, reference_identities
from ddb.backends.segmenters.given_masks import masks_identity
from ddb.config import GivenMasksConfig, RunConfig
from ddb.config.marks import content_of, references_of
from ddb.context import Context, Models
from ddb.data.sources.load import load_dataset
from ddb.data.table import Dataset
from ddb.discovery import embed as embedding
from ddb.discovery.facts import UNKNOWN, Facts, View
from ddb.discovery.findings import look_at
from ddb.discovery.naming import TEMPLATE, allowed
from ddb.discovery.output import write
from ddb.discovery.result import Discovery
from ddb.discovery.vocabulary import read_vocabulary
from ddb.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ddb.backends.encoders.text_image import TextImageEncoder

VERSION = 1
"""Of the vectors; stored ones of another version are not used."""
TEXTS_AT_ONCE = 256


def discover(
    config: RunConfig,
    out: Path,
    *,
    model: str | None = None,
    cache: Path | None = None,
    say: Callable[[str], object] = print,
) -> Discovery:
    """Look for shortcuts in the data of a configuration and write what was found under `out`. No attribute is read.

    `model`: a trained classifier (see `ddb.backends.classifiers.adopted.adopt`), whose errors on the validation images
    are tested as well. `cache`: folder of drawn images and checked files (default: `out`/cache). `say` gets lines of
    progress. DDBError where data, masks, vocabulary or models cannot be used.
    """
    cache = cache or out / "cache"
    dataset = _blind(config, cache)
    words = _words(config, dataset)
    out.mkdir(parents=True, exist_ok=True)
    context, models = Context(dataset, config.seed, config.device, config.precision, cache), Models()
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
    made_from = "" if model else _made_from(config, dataset)
    found = Discovery(
        dataset,
        embedded,
        around,
        objects,
        model or "",
        f"{config.discover.encoder} ({encoder.identity})",
        out,
        made_from,
    )
    write(found)
    return found


def identity_of(config: RunConfig, cache: Path) -> str:
    """Names what `discover` finds without a model: data, settings, weights and vocabulary. Nothing is computed."""
    return _made_from(config, _blind(config, cache))


def _blind(config: RunConfig, cache: Path) -> Dataset:
    """The data without attributes and without groups that were discovered before."""
    return load_dataset(config.data.model_copy(update={"groups": ""}), cache).without_attributes()


def _made_from(config: RunConfig, dataset: Dataset) -> str:
    settings = config.discover.model_dump(include={"alpha", "strength"})
    facts = [_vectors_from(config, dataset), dataset.fingerprint, config.seed, settings, _words(config, dataset)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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
    identity = _vectors_from(config, context.dataset)
    known = embedding.stored(out, identity)
    if known is not None:
        say("discover: the vectors of an earlier call are used")
        return known
    looking = embedding.Models(open_segmenter(config.segment, context, models), encoder, config.segment.batch_size)
    found = embedding.embed(context.dataset, looking, config.discover, config.seed, say)
    embedding.store(out, identity, found)
    return found


def _vectors_from(config: RunConfig, dataset: Dataset) -> str:
    """Names what the vectors depend on."""
    encoder = encoder_weights(config.discover).identity
    segment = {key: value for key, value in content_of(config, "segment").items() if key.startswith("segment.")}
    if isinstance(config.segment, GivenMasksConfig):
        weights = {"segment.masks": masks_identity(config.segment.masks, dataset.samples["image"].to_pylist())}
    else:
        names = [name for name in references_of(config, "segment") if name.startswith("segment.")]
        weights = reference_identities(config, names, dataset)
    labels = dataset.samples["label"].to_pylist()
    settings = [config.discover.hole, config.seed]
    facts = [VERSION, dataset.content, labels, dataset.phrase, segment, weights, encoder, settings]
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
