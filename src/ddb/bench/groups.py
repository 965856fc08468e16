"""Group sizes of every split: refuses settings that need unknown groups, and makes notes on groups without images.

It counts labels of test images but reads no test image. No module that fits or chooses imports it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.bench.fits.trial import group_numbers
from ddb.data.table import Dataset
from ddb.errors import ConfigError
from ddb.records import SPLITS


def group_sizes(dataset: Dataset, split: str) -> npt.NDArray[np.int64] | None:
    """Number of images of every group of a split, int64 [classes x attributes]; None where an attribute is unknown."""
    numbers = group_numbers(dataset.split(split), len(dataset.attributes))
    cells = len(dataset.classes) * len(dataset.attributes)
    return None if numbers is None else np.bincount(numbers, minlength=cells).astype(np.int64)


def check_groups(dataset: Dataset, select: str) -> list[str]:
    """Notes on groups without images. ConfigError where the selection rule `select` needs groups that are not known."""
    if select == "worst_group" and group_sizes(dataset, "val") is None:
        raise ConfigError(
            "--select worst_group needs the group of every validation image, and this data set lacks it: use "
            '"worst_class" or "counterfactual".'
        )
    said = []
    for split in SPLITS:
        sizes = group_sizes(dataset, split)
        empty = [] if sizes is None else np.flatnonzero(sizes == 0).tolist()
        if empty:
            pairs = [divmod(cell, len(dataset.attributes)) for cell in empty]
            names = [f"{dataset.classes[label]} / {dataset.attributes[attribute]}" for label, attribute in pairs]
            words = {"train": "training", "val": "validation", "test": "test"}
            said.append(f"No {words[split]} image of {', '.join(names)}: {_CONSEQUENCES[split]}")
    if group_sizes(dataset, "test") is None:
        said.append("Test groups are unknown: worst-class accuracy is shown instead of worst-group accuracy.")
    return said


_CONSEQUENCES = {
    "train": "no method is trained on that group, and the adjusted mean gives it no weight.",
    "val": "that group plays no part in selection.",
    "test": "worst-group accuracy is the lowest of the other groups.",
}
