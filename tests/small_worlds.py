"""Small settings of the pocket's worlds."""

from __future__ import annotations

from ddb.config import PocketConfig

IMAGES = 156


def small(world: str) -> PocketConfig:
    return PocketConfig.model_validate({"world": world, "train": 120, "val": 12, "test": 24})
