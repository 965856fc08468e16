"""An image with one part exchanged, and what each part contributes to its prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ddb.auditing.explain.record import CLOSED_FORM, Contributions, Twins
from ddb.auditing.images import Scene
from ddb.auditing.measures.parts import WHOLE, Taken, composites, take_apart
from ddb.auditing.predictors import Predictor
from ddb.report.thumbnails import data_uri


def taken_apart(predictor: Predictor, scene: Scene, donors: Sequence[Scene]) -> Taken:
    """The composites of one image with every donor, predicted."""
    return take_apart(predictor, [scene] * len(donors), donors)


def twins(
    kind: str, taken: Taken, scene: Scene, donors: Sequence[Scene], classes: Sequence[str], names: Sequence[str]
) -> Twins:
    """The twins of one kind (`OTHER_OBJECT` or `OTHER_SURROUNDINGS`) with donors of one class. `names`: their
    discovered groups, "" where there is none."""
    probabilities, predicted = taken.probabilities[kind], taken.predicted(kind)
    before = int(taken.predicted(WHOLE)[0])
    said, times = Counter(predicted.tolist()).most_common(1)[0]
    middle = int(np.argsort(probabilities[:, said], kind="stable")[len(donors) // 2])
    around, count = Counter(names).most_common(1)[0]
    return Twins(
        donor=classes[donors[0].label],
        surroundings=around if 2 * count > len(names) else "",
        count=len(donors),
        predicted=classes[said],
        times=times,
        probability=float(probabilities[:, said].mean()),
        changed=int((predicted != before).sum()),
        picture=data_uri(composites(scene, donors[middle])[kind]),
    )


def exact_contributions(taken: Taken, column: int) -> Contributions:
    """In closed form, to the probability of the class `column`: mean over the donors."""
    thing, around = taken.contributions(np.full(len(taken.labels), column))
    return Contributions(float(thing.mean()), float(around.mean()), "probability", CLOSED_FORM, True)


def integrated_contributions(
    predictor: Predictor, pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], column: int
) -> Contributions:
    """Attributions of the class `column`, summed inside and outside the mask (bool [S, S])."""
    (found,) = predictor.attributions(pixels[None], np.array([column]))
    unit = "margin of the logits" if predictor.method == "integrated gradients" else "probability"
    return Contributions(float(found[mask].sum()), float(found[~mask].sum()), unit, predictor.method, False)
