"""The loss curve of a training: a mean every so many steps, printed as it comes and kept as `history`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class LossCurve:
    """A record every `every` steps: step, images (so far), minutes, loss (mean since the last record), rate (images a
    second since then). `minutes` of earlier sessions count: `state` and `LossCurve(**state)` carry a curve over."""

    every: int = 100
    step: int = 0
    images: int = 0
    before: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    _start: float = field(default_factory=time.time)
    _losses: list[float] = field(default_factory=list)
    _mark: tuple[float, int] | None = None

    @property
    def minutes(self) -> float:
        """Minutes of training, earlier sessions included."""
        return self.before + (time.time() - self._start) / 60

    def state(self) -> dict[str, Any]:
        """What a later session goes on from."""
        return {
            "every": self.every,
            "step": self.step,
            "images": self.images,
            "before": self.minutes,
            "history": self.history,
        }

    def add(self, loss: float, images: int) -> None:
        """The loss of one more step on so many images."""
        self._mark = self._mark or (self._start, self.images)
        self.step += 1
        self.images += images
        self._losses.append(loss)
        if self.step % self.every == 0:
            now, (then, seen) = time.time(), self._mark
            self.history.append(
                {
                    "step": self.step,
                    "images": self.images,
                    "minutes": round(self.minutes, 3),
                    "loss": float(np.mean(self._losses)),
                    "rate": round((self.images - seen) / max(now - then, 1e-9), 1),
                }
            )
            print(json.dumps(self.history[-1]), flush=True)
            self._losses.clear()
            self._mark = (now, self.images)
