"""Group sizes of every split: what is refused for want of groups, and what is said of groups without images. It counts
labels of test images and looks at none; nothing that fits or chooses imports it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.bench.fits.trial import group_numbers
from ddb.data.table import Dataset
from ddb.errors import ConfigError
from ddb.records import SPLITS


def group_sizes(dataset: Dataset, split: str) -> npt.NDArray[np.int64] | None:
    """Images of every group of a split; None where an attribute is unknown."""
    numbers = group_numbers(dataset.split(split), len(dataset.attributes))
    cells = len(dataset.classes) * len(dataset.attributes)
    return None if numbers is None else np.bincount(numbers, minlength=cells).astype(np.int64)


def check_groups(dataset: Dataset, select: str) -> list[str]:
    """What to say of groups without images. ConfigError where the selection needs groups that are not known."""
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
        said.append(
            "Test groups are unknown: the accuracy of the worst class stands in the place of the worst group's."
        )
    return said


_CONSEQUENCES = {
    "train": "no method has seen that group, and the adjusted mean gives it no weight.",
    "val": "selection cannot look at that group.",
    "test": "the worst group is the worst of the others.",
}
