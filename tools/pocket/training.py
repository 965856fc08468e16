"""What every training by the clock does: optimiser, warm-up and decay, average of the weights, loss curve, checkpoint.

A checkpoint replaces the last one in one step, so a training may be killed at any moment: started again with the same
folder it goes on from there, and `minutes` count over all sessions.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from curve import LossCurve
from torch import Tensor, nn

WARM_UP = 200
CLIP_NORM = 1.0


def cosine(done: float) -> float:
    """Share of the learning rate at a share of the time."""
    return 0.5 * (1 + math.cos(math.pi * done)) + 0.01


def autocast() -> torch.autocast:
    """bfloat16 where the CPU computes in it, else float32: where it is emulated (AVX2) a convolution takes five times
    as long."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.backends.cpu.get_cpu_capability().startswith("AVX512"))


class Training:
    """`model` is trained in place; `average` (exponential, factor `ema`) is what is worth keeping."""

    def __init__(
        self,
        model: nn.Module,
        out: Path,
        minutes: float,
        lr: float,
        *,
        ema: float,
        seed: int,
        decay: Callable[[float], float] = cosine,
        weight_decay: float = 0.01,
        save_minutes: float = 4.0,
    ) -> None:
        self.model, self.minutes, self.lr, self.decay, self.save_minutes = model, minutes, lr, decay, save_minutes
        self.averages = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(ema)
        )
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=lr, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True
        )
        self.curve = LossCurve()
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._resume()
        torch.manual_seed(seed + self.curve.step)
        self.rng = np.random.default_rng([seed, self.curve.step])
        self._saved = time.time()

    @property
    def average(self) -> nn.Module:
        """The averaged weights."""
        return self.averages.module

    @property
    def done(self) -> float:
        """Share of the time that is over, 1 at the end."""
        return min(1.0, self.curve.minutes / self.minutes) if self.minutes > 0 else 1.0

    @property
    def save_due(self) -> bool:
        """Is it time for a checkpoint?"""
        return time.time() - self._saved > 60 * self.save_minutes

    def step(self, loss: Tensor, images: int) -> None:
        """One step of the optimiser. SystemExit if the loss is not finite; the last checkpoint stays."""
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SystemExit(f"step {self.curve.step + 1}: the loss is {value}; start again from the last checkpoint")
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * min(1.0, (self.curve.step + 1) / WARM_UP) * self.decay(self.done)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimiser.step()
        self.averages.update_parameters(self.model)
        self.curve.add(value, images)

    def save(self) -> None:
        """The checkpoint and `history.json`."""
        (self.out / "history.json").write_text(json.dumps(self.curve.history))
        content = {
            "model": self.model.state_dict(),
            "average": self.averages.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "curve": self.curve.state(),
        }
        fresh = self._checkpoint.with_suffix(".new")
        torch.save(content, fresh)
        os.replace(fresh, self._checkpoint)
        self._saved = time.time()

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.pt"

    def _resume(self) -> None:
        saved = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.averages.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.curve = LossCurve(**saved["curve"])
        print(f"goes on after step {self.curve.step}, {self.curve.minutes:.1f} minutes", flush=True)
