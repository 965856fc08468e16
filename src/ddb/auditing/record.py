"""What an audit has found, as one value that pages and files are made from."""

from __future__ import annotations

from dataclasses import dataclass

from ddb.auditing.figures import Figure
from ddb.auditing.measures.accuracy import Accuracy
from ddb.auditing.measures.attribution import Attribution
from ddb.auditing.measures.calibration import Calibration
from ddb.auditing.measures.pairs import Pairs
from ddb.auditing.measures.parts import Parts


@dataclass(frozen=True)
class About:
    """What was audited, with what: `model` and `masks` in words, `split` and number of audited images, classes of the
    data, `phrase` of the object, the run whose counterfactuals were used ("": none), seed and version of ddb."""

    name: str
    model: str
    data: str
    split: str
    images: int
    classes: tuple[str, ...]
    phrase: str
    masks: str
    mask_statuses: dict[str, int]
    run: str
    seed: int
    ddb: str


@dataclass(frozen=True)
class Audit:
    """The figures of one classifier. None: not measured, for the reason that `notes` give."""

    about: About
    accuracy: Accuracy
    calibration: Calibration
    parts: Parts | None
    attribution: Attribution | None
    pairs: Pairs | None
    notes: tuple[str, ...]

    @property
    def flip_rate(self) -> Figure | None:
        """Over all pairs of the run; without a run, over those of copy-paste."""
        if self.pairs is not None:
            return self.pairs.all
        return None if self.parts is None else self.parts.both_right
