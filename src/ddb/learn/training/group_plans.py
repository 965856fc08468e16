"""Plans of an epoch in which every group of images is drawn equally often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddb.learn.training.batches import Plan, drawn

Groups = npt.NDArray[np.int64]
"""[N], the number of every image's group."""


def balanced(groups: Groups, batch_size: int) -> Plan:
    """A plan that draws each group of `groups` int64 [N] with equal probability."""
    weights = balancing_weights(groups)
    return lambda generator, _classifier: drawn(weights, batch_size, generator)


def balancing_weights(groups: Groups) -> npt.NDArray[np.float64]:
    """float64 [N]: N / size of the image's group, as in GroupDRO's sampler (group_DRO, data/dro_dataset.py)."""
    _, inside, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights: npt.NDArray[np.float64] = (len(groups) / sizes)[inside]
    return weights
