"""A small data set of birds, and its settings with given masks and a tiny random encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.config import PocketConfig, RunConfig
from ddb.config.load import load_config
from ddb.pocket.datasets import write_pocket
from tiny_encoders import write_clip


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pocket(tmp_path_factory.mktemp("discovery") / "birds", PocketConfig(train=160, val=40, test=12))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def settings(birds: Path, encoder: Path) -> Callable[..., RunConfig]:
    """Settings of a folder (default: `birds`) with changes "a.b=c"."""

    def made(*changes: str, root: Path = birds) -> RunConfig:
        given = [f"data.root={root}", "data.source=waterbirds", "evaluate.in_distribution=0", "device=cpu"]
        masks = ["segment.backend=given", f"segment.masks={root / 'masks'}"]
        return load_config("pocket-waterbirds", [*given, *masks, f"discover.encoder={encoder}", *changes])

    return made
