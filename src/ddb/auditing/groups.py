"""The groups that an audit reports by: known attributes, else discovered groups. The one place that decides this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.data.table import Dataset
from ddb.learn.metrics import UNKNOWN

GIVEN, DISCOVERED = "attribute", "discovered"


@dataclass(frozen=True)
class Grouping:
    """`kind`: "attribute" (given with the data) or "discovered" (by `ddb discover`). `codes` int64, one for each row of
    `Dataset.samples`: an index into `names`, or UNKNOWN."""

    kind: str
    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]


def grouping(dataset: Dataset) -> Grouping | None:
    """The groups of a data set; None where it has none."""
    if dataset.attributes:
        return Grouping(GIVEN, dataset.attributes, _codes(dataset, "attribute"))
    if dataset.discovered:
        return Grouping(DISCOVERED, dataset.discovered, _codes(dataset, "discovered"))
    return None


def discovered_name(dataset: Dataset, name: str) -> str:
    """The discovered group of the sample `name`; "" where there is none."""
    code = dataset.samples["discovered"][dataset.rows[name]].as_py()
    return "" if code is None else dataset.discovered[code]


def _codes(dataset: Dataset, column: str) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = dataset.samples[column].fill_null(UNKNOWN).to_numpy().astype(np.int64)
    return codes
