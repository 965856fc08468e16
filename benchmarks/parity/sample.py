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


def afr_descent(sample: Sample) -> float:
    """AFR: weights, then the head after 500 clipped steps with a penalty."""
    import losses
    from utils.supervised_utils import get_last_layer_model, normalize_weights, rebalance_weights, take_step

    rng = np.random.default_rng(1)
    start = Head(rng.normal(size=(2, D)), rng.normal(size=2))
    features, labels = torch.from_numpy(sample.features), torch.from_numpy(sample.labels)
    initial = torch.from_numpy(start.weight), torch.from_numpy(start.bias)
    layer = get_last_layer_model(initial)
    weights = losses.get_exp_weights(layer(features).detach(), labels, gamma=10.0)
    weights = normalize_weights(rebalance_weights(weights, labels))
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(500):
        take_step(layer, (features, labels, weights), optimiser, losses.afr(), None, initial, 0.1, max_norm=1.0)
    sure = torch.softmax(torch.from_numpy(start.logits(sample.features)), 1).numpy()[np.arange(N), sample.labels]
    own = afr_weights(sure, sample.labels, 10.0)
    *_, head = descend(start, sample.features, sample.labels, own, 0.1, 0.01, 500)
    return max(_apart(layer.weight, head.weight), _apart(layer.bias, head.bias), _apart(weights, own))
