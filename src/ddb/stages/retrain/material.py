"""The material of retraining: training images, kept counterfactuals, and how `retrain.method` combines them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ddb.config import ErmConfig, RetrainConfig
from ddb.config.fit import GROUPED
from ddb.context import Context
from ddb.data.counterfactuals import Counterfactuals, Rows
from ddb.data.images import Mask, Pixels
from ddb.data.preprocessing import Preprocessing
from ddb.data.stores.pixel_store import pixel_store
from ddb.learn import processes
from ddb.learn.classifier import Classifier
from ddb.learn.device import Runtime
from ddb.learn.training.group_dro import GroupDRO
from ddb.learn.training.group_plans import Groups, balanced
from ddb.learn.training.joined import joined_images
from ddb.learn.training.material import Figures, Images, Material, Term, crops, training_images
from ddb.learn.validation import Held, group_cells, holdout, validator
from ddb.stage import Tables

log = logging.getLogger("ddb")

PREDICT_BATCH = 128
STEP_SIZE = 0.01
"""Rate of the cells' weights in GroupDRO (group_DRO: robust_step_size)."""


@dataclass(frozen=True)
class Retraining:
    """Inputs of the stage. `gammas`: a weight for every class; `groups` (columns id, attribute; validation ids) is for
    epoch selection by groups alone."""

    context: Context
    settings: RetrainConfig
    erm: ErmConfig
    gammas: Sequence[float]
    groups: pa.Table | None


@dataclass(frozen=True)
class Part:
    """Images with the class of each one's source, int64 [N]."""

    images: Images
    from_labels: npt.NDArray[np.int64]


def retraining_material(work: Retraining, tables: Tables, preprocessing: Preprocessing, runtime: Runtime) -> Material:
    """What the classifier is retrained with, by `retrain.method`."""
    dataset, cache, settings = work.context.dataset, work.context.cache, work.settings
    train, val = dataset.split("train"), dataset.split("val")
    candidates = Counterfactuals(tables, dataset)
    parts = _Parts(candidates, work, preprocessing, f"kept-{tables.folder('prune').name}")
    with processes.leader_first():
        held = holdout(val, pixel_store(dataset, val["id"].to_pylist(), preprocessing, cache))
        apart, own = parts.held(), parts.own()
    if settings.selection in GROUPED:
        held = replace(held, cells=group_cells(val, work.groups, f'retrain.selection: "{settings.selection}"'))
    validate = validator(settings.selection, [held, apart], runtime, PREDICT_BATCH)
    images = training_images(dataset, train, preprocessing, settings.augment, cache)
    if settings.method == "cross_entropy":
        return Material(images, _terms(own, work), validate)
    return _by_cells(images, own, settings, validate)


def _terms(own: Mapping[int, Part], work: Retraining) -> tuple[Term, ...]:
    """A loss term for every class that has counterfactuals and a positive weight."""
    batch = work.settings.generated_batch
    return tuple(
        Term(own[label].images, gamma, batch) for label, gamma in enumerate(work.gammas) if gamma and label in own
    )


def _by_cells(
    images: Images, own: Mapping[int, Part], settings: RetrainConfig, validate: Callable[[Classifier], Figures] | None
) -> Material:
    """All images together, each cell (class, class of the source) drawn equally often. A training image stands for the
    majority of its class: its cell is (class, class)."""
    parts = [Part(images, images.labels), *own.values()]
    joined = joined_images(*(part.images for part in parts))
    pairs = np.stack([joined.labels, np.concatenate([part.from_labels for part in parts])])
    cells: Groups = np.unique(pairs, axis=1, return_inverse=True)[1].astype(np.int64)
    plan = balanced(cells, settings.batch_size + settings.generated_batch * len(own))
    if settings.method == "last_layer":
        return Material(joined, (), validate, last_layer_only=True, plan=plan)
    return Material(joined, (), validate, plan=plan, objective=GroupDRO(cells, STEP_SIZE, 0.0))


@dataclass(frozen=True)
class _Parts:
    """The kept counterfactuals in two parts: those held out for epoch selection, and for each class those to train on.
    `name`: prefix of the names of the files that cache their pixels; it identifies them."""

    candidates: Counterfactuals
    work: Retraining
    preprocessing: Preprocessing
    name: str

    @property
    def _apart(self) -> Mask:
        """Bool [N]: whether held out for epoch selection."""
        by_pairs = self.work.settings.selection == "counterfactual"
        return self.candidates.held_out if by_pairs else np.zeros(len(self.candidates), np.bool_)

    def held(self) -> Held:
        """The counterfactuals for epoch selection, with a cell for every (class, class of the source)."""
        rows = np.flatnonzero(self.candidates.kept & self._apart)
        labels = self.candidates.to_labels[rows]
        cells = len(self.work.gammas) * (1 + self.candidates.from_labels[rows]) + labels
        return Held(self._squares(rows, "held"), labels, cells)

    def own(self) -> dict[int, Part]:
        """By class, its counterfactuals to train on. A class without is missing, and named in the log."""
        found, own = {}, self.candidates.kept & ~self._apart
        for label, name in enumerate(self.work.context.dataset.classes):
            rows = np.flatnonzero(own & (self.candidates.to_labels == label))
            if len(rows):
                found[label] = Part(self._images(rows, label), self.candidates.from_labels[rows])
            else:
                log.warning("Retraining: no counterfactual of class %s to learn from.", name)
        return found

    def _images(self, rows: Rows, label: int) -> Images:
        labels, augment, side = np.full(len(rows), label, np.int64), self.work.settings.augment, self.preprocessing.size
        if not crops(augment):
            return Images(self._squares(rows, str(label)), labels)
        path = self.work.context.cache / f"{self.name}-{label}-{side}-{augment.scale[0]:g}.bin"
        pictures = self.candidates.pictures(side, augment.scale[0], rows, path)
        return Images(np.empty((0, side, side, 3), np.uint8), labels, pictures=pictures)

    def _squares(self, rows: Rows, part: str) -> Pixels:
        path = self.work.context.cache / f"{self.name}-{part}-{self.preprocessing.key}.npy"
        return self.candidates.at_input(self.preprocessing, rows, path)
