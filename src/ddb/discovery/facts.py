"""What discovery knows of the images, and the two views that it has of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Where = Literal["surroundings", "object"]
UNKNOWN = -1
"""Value of `Facts.wrong` where it is not known."""


@dataclass(frozen=True)
class Facts:
    """What is known of the N images: `labels` [N], 0 to `classes` - 1; `train` [N]; `wrong` [N]: 1 where the model is
    wrong on a validation image, 0 where it is right, `UNKNOWN` elsewhere. `words` with their vectors `texts` [W, D]."""

    labels: npt.NDArray[np.int64]
    classes: int
    train: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.int64]
    words: Sequence[str]
    texts: npt.NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """Vectors [N, D] of one part of the images. `seen` [N]: rows that are assigned to clusters; `there` [N]: rows, of
    these, whose object was found, which clusters are fitted to and tested on."""

    where: Where
    vectors: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]
    there: npt.NDArray[np.bool_]
