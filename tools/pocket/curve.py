"""The loss curve of a training: a mean every so many steps, printed as it comes and kept as `history`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import numpy as np


@dataclass
class LossCurve:
    """`batch` images a step; a record every `every` steps: step, images, minutes, mean loss since the last one."""

    batch: int
    every: int = 100
    history: list[dict[str, float]] = field(default_factory=list)
    _start: float = field(default_factory=time.time)
    _losses: list[float] = field(default_factory=list)

    def add(self, step: int, loss: float) -> None:
        """The loss of step number `step` (from 1)."""
        self._losses.append(loss)
        if step % self.every == 0:
            minutes = (time.time() - self._start) / 60
            mean = float(np.mean(self._losses))
            self.history.append({"step": step, "images": step * self.batch, "minutes": minutes, "loss": mean})
            print(json.dumps(self.history[-1]), flush=True)
            self._losses.clear()
