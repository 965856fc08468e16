"""Object and surroundings taken apart: predictions on composites of two images (`ddb.data.composites`).

Of an image A and an image B of another class four composites are predicted: object of A or B, in the surroundings of A
or B, the object always at A's place. All pixels are bytes of A, of B or of a filled box, so the contribution of each
part to the probability of A's class follows in closed form as the Shapley value of a game of two players:

    object        1/2 (f(A, A) - f(B, A)) + 1/2 (f(A, B) - f(B, B))      f(object, surroundings)
    surroundings  1/2 (f(A, A) - f(A, B)) + 1/2 (f(B, A) - f(B, B))

Their sum is f(A, A) - f(B, B), exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.auditing.figures import Figure, bootstrap, mean, share
from ddb.auditing.images import BATCH, Scene
from ddb.auditing.predictors import Predictor, Probabilities
from ddb.data.composites import erase_object, exchange_object, exchange_surroundings, put_object
from ddb.data.images import Pixels
from ddb.data.masks import bounding_box

WHOLE, OTHER_OBJECT, OTHER_SURROUNDINGS, BOTH, ERASED = "whole", "other_object", "other_surroundings", "both", "erased"
COMPOSITES = (WHOLE, OTHER_OBJECT, OTHER_SURROUNDINGS, BOTH, ERASED)
LEAST = 0.01
"""Mean change of probability below which the share of the surroundings in it is not stated."""
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What is predicted on images whose object is of one class and whose surroundings come from an image of another:
    the share of each, and of `unchanged` predictions."""

    object_class: Figure
    surroundings_class: Figure
    unchanged: Figure


@dataclass(frozen=True)
class Parts:
    """`both_right`: the share of pairs (image, copy with another object) in which each is predicted as the class of its
    object: the flip rate of copy-paste. `object_erased`: the share of predictions that stay the same without the
    object, averaged over the predicted classes; `erased_chance`: its value for a classifier that sees the object alone.
    `object`, `surroundings`: mean contributions to the probability of the image's class; `surroundings_share`: the
    second one's share in their sum, None where that is below `LEAST`."""

    n: int
    surroundings_exchanged: Outcome
    object_exchanged: Outcome
    both_right: Figure
    object_erased: Figure
    erased_chance: float
    object: Figure
    surroundings: Figure
    surroundings_share: Figure | None


@dataclass(frozen=True, eq=False)
class Taken:
    """The predictions [N, C] of every composite of N images (`labels`) with their donors (`donor_labels`)."""

    labels: npt.NDArray[np.int64]
    donor_labels: npt.NDArray[np.int64]
    probabilities: dict[str, Probabilities]

    def predicted(self, name: str) -> npt.NDArray[np.int64]:
        columns: npt.NDArray[np.int64] = self.probabilities[name].argmax(axis=1)
        return columns

    def contributions(self, columns: npt.NDArray[np.int64]) -> tuple[Shares, Shares]:
        """(object, surroundings), each [N]: contributions to the probability of the classes `columns` [N]."""
        rows = np.arange(len(columns))
        aa, ba, ab, bb = (self.probabilities[name][rows, columns] for name in COMPOSITES[:4])
        return ((aa - ba) + (ab - bb)) / 2, ((aa - ab) + (ba - bb)) / 2


def composites(scene: Scene, donor: Scene) -> dict[str, Pixels]:
    """The composites of an image with a donor, uint8 [S, S, 3] each."""
    around = erase_object(donor.pixels, donor.mask)
    return {
        WHOLE: scene.pixels,
        OTHER_OBJECT: exchange_object(scene.pixels, scene.mask, donor.pixels, donor.mask),
        OTHER_SURROUNDINGS: exchange_surroundings(scene.pixels, scene.mask, donor.pixels, donor.mask),
        BOTH: put_object(around, bounding_box(scene.mask), donor.pixels, donor.mask),
        ERASED: erase_object(scene.pixels, scene.mask),
    }


def take_apart(predictor: Predictor, scenes: Sequence[Scene], donors: Sequence[Scene]) -> Taken:
    """Predict the composites of each scene with its donor; a batch of them is in memory at a time."""
    found: dict[str, list[Probabilities]] = {name: [] for name in COMPOSITES}
    for start in range(0, len(scenes), BATCH):
        part = slice(start, start + BATCH)
        made = [composites(*pair) for pair in zip(scenes[part], donors[part], strict=True)]
        for name in COMPOSITES:
            found[name].append(predictor.predict(np.stack([one[name] for one in made])))
    labels, others = ([scene.label for scene in side] for side in (scenes, donors))
    return Taken(np.array(labels), np.array(others), {name: np.concatenate(rows) for name, rows in found.items()})


def parts(taken: Taken) -> Parts | None:
    """The figures; None where there is no image."""
    n = len(taken.labels)
    if n == 0:
        return None
    before, swapped = taken.predicted(WHOLE), taken.predicted(OTHER_OBJECT)
    thing, around = taken.contributions(taken.labels)

    def of_surroundings(rows: npt.NDArray[np.int64]) -> float:
        total = thing[rows].mean() + around[rows].mean()
        return float(around[rows].mean() / total) if total >= LEAST else np.nan

    return Parts(
        n,
        _outcome(taken.predicted(OTHER_SURROUNDINGS), before, taken.labels, taken.donor_labels),
        _outcome(swapped, before, taken.donor_labels, taken.labels),
        _there(share((before == taken.labels) & (swapped == taken.donor_labels))),
        _there(bootstrap(lambda rows: _same(taken.predicted(ERASED)[rows], before[rows]), n)),
        1 / len(np.unique(before)),
        _there(mean(thing)),
        _there(mean(around)),
        bootstrap(of_surroundings, n),
    )


def _same(after: npt.NDArray[np.int64], before: npt.NDArray[np.int64]) -> float:
    """The share of equal predictions, averaged over the classes predicted before."""
    return float(np.mean([(after[before == name] == name).mean() for name in np.unique(before)]))


def _outcome(
    predicted: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
    objects: npt.NDArray[np.int64],
    surroundings: npt.NDArray[np.int64],
) -> Outcome:
    return Outcome(
        _there(share(predicted == objects)),
        _there(share(predicted == surroundings)),
        _there(share(predicted == before)),
    )


def _there(figure: Figure | None) -> Figure:
    assert figure is not None, "at least one image"
    return figure
