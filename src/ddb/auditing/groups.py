"""The groups that an audit reports by: known attributes, else discovered groups. The one place that decides this."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ddb.data.table import Dataset, codes

GIVEN, DISCOVERED = "attribute", "discovered"


@dataclass(frozen=True)
class Grouping:
    """`kind`: "attribute" (given with the data) or "discovered" (by `ddb discover`). `codes` int64, one for each row of
    `Dataset.samples`: an index into `names`, or `NO_ATTRIBUTE`."""

    kind: str
    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]


def grouping(dataset: Dataset) -> Grouping | None:
    """The groups of a data set; None where it has none."""
    if dataset.attributes:
        return Grouping(GIVEN, dataset.attributes, codes(dataset.samples["attribute"]))
    if dataset.discovered:
        return Grouping(DISCOVERED, dataset.discovered, codes(dataset.samples["discovered"]))
    return None


def discovered_name(dataset: Dataset, name: str) -> str:
    """The discovered group of the sample `name`; "" where there is none."""
    code = dataset.samples["discovered"][dataset.rows[name]].as_py()
    return "" if code is None else dataset.discovered[code]
