"""The state of a fit in one safetensors file, which is replaced atomically after every epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ddb.errors import ModelError


@dataclass(frozen=True)
class FitState:
    """Progress of a fit. `epoch`: number of finished epochs; `kept`: the epoch with the best `figures`, whose weights
    are `best`; `history`: one entry per epoch (epoch, loss, figures)."""

    epoch: int = 0
    kept: int = 0
    figures: tuple[float, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    best: Mapping[str, Tensor] = field(default_factory=dict)

    def after(self, epoch: int, loss: float, figures: tuple[float, ...], model: nn.Module) -> FitState:
        """The state after one more epoch. Of two epochs with equal figures the later is kept."""
        history = (*self.history, {"epoch": epoch, "loss": loss, "figures": list(figures)})
        if figures < self.figures:
            return replace(self, epoch=epoch, history=history)
        best = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        return FitState(epoch, epoch, figures, history, best)


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    state: FitState,
    memory: Mapping[str, Tensor],
) -> None:
    """Write all state that the next epoch depends on; `memory`: the `state` of the objective. OSError where writing
    fails."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"memory.{name}": value for name, value in memory.items()}
    if state.kept != state.epoch:
        tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items() if torch.is_tensor(value)}
    facts = {
        "epoch": state.epoch,
        "kept": state.kept,
        "figures": state.figures,
        "history": state.history,
        "scaler": scaler.state_dict(),
    }
    save_tensors(path, tensors, {"ddb": json.dumps(facts)})


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    memory: dict[str, Tensor],
) -> FitState | None:
    """Load a checkpoint into model, optimiser, scaler and `memory`; None where there is no file. ModelError for a
    damaged file."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["ddb"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); delete it to start this fit again.") from error
    weights = _under(tensors, "model.")
    model.load_state_dict(weights)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimiser.").items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]  # fused optimisers need moments in the parameter's memory layout
        moments.setdefault(int(index), {})[key] = (
            torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        )
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    scaler.load_state_dict(facts["scaler"])
    memory.update(_under(tensors, "memory."))
    best = _under(tensors, "best.") or weights
    return FitState(facts["epoch"], facts["kept"], tuple(facts["figures"]), tuple(facts["history"]), best)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically: under a temporary name, fsync, rename. OSError where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
