"""Figures that the paper reports (paper.json) for the full-size data set of the same name."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from ddb.config import RunConfig


@cache
def facts() -> dict[str, Any]:
    """The whole file: source, main, pruning, inversion."""
    found: dict[str, Any] = json.loads(resources.files("ddb.bench.show").joinpath("paper.json").read_text("utf-8"))
    return found


def name_of(config: RunConfig) -> str:
    """The data set's name in the paper's tables; "" where the paper does not report on it."""
    name = config.data.pocket.world if config.data.source == "pocket" else config.data.source
    return name if name in facts()["main"] else ""


def worst_group(name: str, method: str) -> float | None:
    """Worst-group accuracy of a method in [0, 1]."""
    value = facts()["main"].get(name, {}).get(method)
    return None if value is None else value / 100


def pruning(name: str, arm: str) -> float | None:
    """Worst-group accuracy in [0, 1] without pruning ("none") or with both heads ("both")."""
    value = facts()["pruning"].get(name, {}).get(arm)
    return None if value is None else value / 100


def inversion(name: str, representatives: str) -> tuple[int, float] | None:
    """Images pruned and worst-group accuracy in [0, 1] at a number of representatives."""
    found = facts()["inversion"].get(name)
    if found is None or representatives not in found["pruned"]:
        return None
    return found["pruned"][representatives], found["wga"][representatives] / 100
