"""The objective of GroupDRO (Sagawa, Koh, Hashimoto and Liang, ICLR 2020, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from ddb.learn.training.batches import Rows
from ddb.learn.training.group_plans import Groups


class GroupDRO:
    """The objective. `groups` int64 [N]; `state["q"]`: the groups' weights, float64 [G], summing to 1."""

    def __init__(self, groups: Groups, step_size: float, adjustment: float) -> None:
        self.groups = torch.from_numpy(groups)
        sizes = torch.bincount(self.groups)
        self.step_size, self.adjustments = step_size, adjustment / sizes.double().sqrt()
        self.state: dict[str, Tensor] = {"q": torch.full((len(sizes),), 1 / len(sizes), dtype=torch.float64)}

    def weigh(self, rows: Rows, logits: Tensor, losses: Tensor) -> Tensor:
        """float [B]: B q_g / (number of images of g in the batch), so that the mean weighted loss is sum_g q_g L_g."""
        groups, count = self.groups[rows], len(self.adjustments)
        inside = torch.bincount(groups, minlength=count)
        means = torch.bincount(groups, losses.double(), minlength=count) / inside.clamp(min=1)
        grown = self.state["q"] * torch.exp(self.step_size * (means + self.adjustments))
        q = self.state["q"] = grown / grown.sum()
        return (len(rows) * q / inside.clamp(min=1))[groups].to(losses.dtype)
