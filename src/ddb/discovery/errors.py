"""Whether a model is wrong more often on some sets of images than on the other images of the same class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.discovery.association import Association, associate
from ddb.discovery.facts import UNKNOWN, Facts

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Errors:
    """Validation images of the class `label` that are in a group: `n` of them, the share that the model gets wrong,
    `wrong`, and that share of the class's other images, `elsewhere`; `p` corrected for the number of cells."""

    group: str
    label: int
    n: int
    wrong: float
    elsewhere: float
    p: float


def errors_by_cell(members: Integers, count: int, facts: Facts, there: Flags, seed: int) -> Association | None:
    """The test of each cell (set, class), set by set, against the model's errors on validation images of the class.
    `members` [N]: numbers of sets. None where the model's errors are not known, or all the same."""
    judged = there & (facts.wrong != UNKNOWN)
    if len(np.unique(facts.wrong[judged])) < 2:
        return None
    cells = (members[:, None, None] == np.arange(count)[:, None]) & (
        facts.labels[:, None, None] == np.arange(facts.classes)
    )
    flat = cells.reshape(len(members), -1)
    return associate(flat[judged], facts.wrong[judged], facts.labels[judged], seed)


def significant(found: Association, alpha: float) -> Flags:
    """The cells with more errors than the other images of their class."""
    cells: Flags = (found.p <= alpha) & (found.z[:, 1] > 0)
    return cells


def errors_of(members: Integers, names: Sequence[str], facts: Facts, alpha: float, seed: int) -> tuple[Errors, ...]:
    """The significant cells of groups, those with the most errors first. `members` [N]: number of each image's group,
    -1 for none."""
    found = errors_by_cell(members, len(names), facts, members >= 0, seed)
    if found is None:
        return ()
    rows = []
    for cell in np.flatnonzero(significant(found, alpha)).tolist():
        number, label = divmod(cell, facts.classes)
        own = (facts.labels == label) & (facts.wrong != UNKNOWN)
        inside, others = own & (members == number), own & (members != number)
        wrong, elsewhere = (float(facts.wrong[part].mean()) if part.any() else 0.0 for part in (inside, others))
        rows.append(Errors(names[number], label, int(inside.sum()), wrong, elsewhere, float(found.p[cell])))
    return tuple(sorted(rows, key=lambda row: -row.wrong))
