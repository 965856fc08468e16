"""Random numbers that both sides' core functions get in `exact.py`."""

from __future__ import annotations

import numpy as np
import torch
from benchmarks.parity.ground import Ground
from torch import Tensor

N, D, STEPS = 240, 16, 20


class Sample:
    """Features, labels and places of four groups of 120, 60, 40 and 20, and batches of 32 of them; `ground` for what
    needs images."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        rng = np.random.default_rng(0)
        self.groups = rng.permutation(np.repeat(np.arange(4), (120, 60, 40, 20)))
        self.labels, self.places = self.groups // 2, self.groups % 2
        self.features = rng.normal(size=(N, D)) + self.groups[:, None] / 3
        self.batches = [rng.permutation(N)[:32] for _ in range(STEPS)]

    def tensors(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        features = torch.from_numpy(self.features[rows]).float()
        return features, torch.from_numpy(self.labels[rows]), torch.from_numpy(self.places[rows])
