"""The worker of stage score: pairs of source and counterfactual through the ERM classifier."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.backends.classifiers.timm_classifier import LoadedClassifier
from ddb.config import ScoreConfig
from ddb.context import Context
from ddb.data.counterfactuals import Counterfactuals, Rebuilt
from ddb.data.images import Mask, Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.learn import predict
from ddb.learn.attribution import Integral, Masks, integrated_gradients, map_png, output_change
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime, open_accelerator
from ddb.learn.halving import BatchSize
from ddb.learn.predict import Floats
from ddb.records import OK
from ddb.stage import Batch, Fixed, Phased, Row, Tables, Worker
from ddb.stages.slots import Filled, filled, stacked

INTEGRATED_AT_ONCE = 8
"""Images whose gradients are integrated at once; few are, and a batch is filled up to this number."""
SMALLER = "lower erm.image_size, or free the device"


@dataclass(frozen=True)
class Pair:
    """A source and its counterfactual at the classifier's input size, uint8 [S, S, 3]; `before` float32 [K]: the
    source's logits; `mask` bool [S, S]: pixels that may differ; `area`: share of the image's pixels that differ, at its
    own size."""

    before: Floats
    source: Pixels
    image: Pixels
    mask: Mask
    area: float


@dataclass(frozen=True)
class Pairs:
    """A batch of pairs: logits of the sources [N, K], sources and images uint8 [N, S, S, 3], masks bool [N, S, S],
    labels [N]; empty slots are black."""

    before: Floats
    sources: Pixels
    images: Pixels
    masks: Masks
    from_labels: npt.NDArray[np.int64]
    to_labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Scoring:
    """A batch that was read: by slot, stacked for the model, and which slots get an attribution map, bool [N]."""

    read: Filled[Pair]
    pairs: Pairs
    mapped: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scorer:
    """The classifier and settings of the scores."""

    loaded: LoadedClassifier
    settings: ScoreConfig
    runtime: Runtime
    batch_size: int
    integral: Integral

    @property
    def classifier(self) -> Classifier:
        return self.loaded.classifier


def open_worker(
    context: Context, settings: ScoreConfig, loaded: LoadedClassifier, tables: Tables, fixed: Fixed
) -> Worker:
    """The worker that scores candidates under the ERM classifier, in batches of `fixed.batch_size`."""
    runtime = open_accelerator(context.device, context.precision).exact()
    batch = BatchSize(INTEGRATED_AT_ONCE, "batches of", SMALLER)
    integral = Integral(settings.ig_steps, settings.output, batch)
    scorer = Scorer(loaded, settings, runtime, fixed.batch_size, integral)
    candidates = Counterfactuals(tables, context.dataset)
    return _worker(candidates, _logits(tables, set(candidates.source_ids)), scorer)


def _logits(tables: Tables, ids: Set[str]) -> dict[str, Floats]:
    """The logits of these training images, float32 [K] each."""
    table = tables.table("erm", ["id", "logits", "status"])
    table = table.filter(pc.equal(table["status"], OK))
    values = table["logits"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    return {name: row for name, row in zip(table["id"].to_pylist(), values, strict=True) if name in ids}


def _worker(candidates: Counterfactuals, logits: Mapping[str, Floats], scorer: Scorer) -> Worker:
    shown = _shown(candidates.columns, scorer.settings.maps)
    preprocessing, sources = scorer.loaded.card.preprocessing, candidates.source_ids

    def pair(one: Rebuilt) -> Pair:
        return _pair(one, logits[sources[one.row]], preprocessing)

    def read(batch: Batch) -> _Scoring:
        ids = [name for name in batch if name is not None]
        rows = candidates.rows_of(ids)
        found = dict(zip(ids, candidates.outcomes(rows, pair), strict=True))
        pairs = filled(batch, lambda name: _raised(found[name]))
        mapped = np.array([slot is not None and name in shown for slot, name in zip(pairs.slots, batch, strict=True)])
        return _Scoring(pairs, _stacked(pairs, candidates, preprocessing.size), mapped)

    def compute(batch: _Scoring) -> tuple[_Scoring, dict[str, list[Any]]]:
        return batch, _scores(batch.pairs, batch.mapped, scorer)

    def written(scored: tuple[_Scoring, dict[str, list[Any]]]) -> list[Row]:
        batch, columns = scored

        def row(slot: int, name: str) -> Row:
            done = batch.read.slots[slot]
            assert done is not None, "what failed has its own row"
            values = {key: column[slot] for key, column in columns.items()}
            return {"id": name, "status": OK, "error": "", "area": done.area, **values}

        return batch.read.rows(row)

    return Phased(read, compute, written)


def _pair(one: Rebuilt, before: Floats, preprocessing: Preprocessing) -> Pair:
    return Pair(
        before=before,
        source=preprocessing.square(one.source),
        image=preprocessing.square(one.image),
        mask=preprocessing.mask(one.changed),
        area=float(one.changed.mean()),
    )


def _raised(outcome: Pair | Exception) -> Pair:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _stacked(read: Filled[Pair], candidates: Counterfactuals, side: int) -> Pairs:
    slots = read.slots
    rows = [0 if name is None else int(candidates.rows_of([name])[0]) for name in read.batch]
    blank = np.zeros(len(candidates.dataset.classes), np.float32)
    return Pairs(
        before=np.stack([blank if pair is None else pair.before for pair in slots]),
        sources=stacked([None if pair is None else pair.source for pair in slots], (side, side, 3)),
        images=stacked([None if pair is None else pair.image for pair in slots], (side, side, 3)),
        masks=np.stack([np.zeros((side, side), bool) if pair is None else pair.mask for pair in slots]),
        from_labels=candidates.from_labels[rows],
        to_labels=candidates.to_labels[rows],
    )


def _scores(pairs: Pairs, mapped: npt.NDArray[np.bool_], scorer: Scorer) -> dict[str, list[Any]]:
    """The columns of `records.SCORES` that come from the model, one value per slot."""
    settings, count = scorer.settings, len(pairs.sources)
    after = predict.logits(scorer.classifier, pairs.images, scorer.runtime, scorer.batch_size)
    equal = (pairs.sources == pairs.images).all(axis=3)
    # ERM's batches have another shape, so last bits may differ: where nothing changed, rho has to be 0 exactly
    before = np.where(equal.all(axis=(1, 2))[:, None], after, pairs.before)
    kept_outside = (equal | pairs.masks).all(axis=(1, 2))
    closed = kept_outside if settings.method == "auto" else np.full(count, settings.method == "exact")
    rho = output_change(before, after, pairs.to_labels, settings.output)
    maps = _maps(pairs, np.flatnonzero(~closed | mapped), scorer)
    for i in np.flatnonzero(~closed).tolist():
        rho[i] = float(maps[i][pairs.masks[i]].sum(dtype=np.float64))
    slots = np.arange(count)
    psi, psi_source = predict.softmax(after), predict.softmax(before)
    return {
        "psi_from": psi[slots, pairs.from_labels].tolist(),
        "psi_to": psi[slots, pairs.to_labels].tolist(),
        "psi_from_source": psi_source[slots, pairs.from_labels].tolist(),
        "rho": rho.tolist(),
        "exact": (closed & kept_outside).tolist(),
        "attribution": [map_png(maps[i]) if mapped[i] else None for i in range(count)],
    }


def _maps(pairs: Pairs, rows: npt.NDArray[np.intp], scorer: Scorer) -> dict[int, npt.NDArray[np.float32]]:
    """Integrated gradients of these slots."""
    if not len(rows):
        return {}
    found = integrated_gradients(
        scorer.classifier, pairs.sources[rows], pairs.images[rows], pairs.to_labels[rows], scorer.runtime,
        scorer.integral,
    )  # fmt: skip
    return dict(zip(rows.tolist(), found, strict=True))


def _shown(candidates: pa.Table, count: int) -> set[str]:
    """Ids that get an attribution map: `count` first variants of each direction, by the hash of their id."""
    directions: dict[tuple[int, int], list[str]] = defaultdict(list)
    for row in candidates.select(["id", "from_label", "to_label", "variant"]).to_pylist():
        if row["variant"] == 0:
            directions[row["from_label"], row["to_label"]].append(row["id"])
    return {item for ids in directions.values() for item in sorted(ids, key=_hash)[:count]}


def _hash(item: str) -> str:
    return hashlib.sha256(item.encode()).hexdigest()
