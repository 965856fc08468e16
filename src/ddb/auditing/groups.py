"""The groups that an audit reports by: known attributes. The one place that decides this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.data.table import Dataset
from ddb.learn.metrics import UNKNOWN


@dataclass(frozen=True)
class Grouping:
    """`kind`: "attribute" (given with the data). `codes` int64, one for each row of `Dataset.samples`: an index into
    `names`, or UNKNOWN."""

    kind: str
    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]


def grouping(dataset: Dataset) -> Grouping | None:
    """The groups of a data set; None where it has none."""
    if not dataset.attributes:
        return None
    codes = dataset.samples["attribute"].fill_null(UNKNOWN).to_numpy().astype(np.int64)
    return Grouping("attribute", dataset.attributes, codes)
