"""The world of squares, its ERM model trained once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rival_world import World, build


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(shared_world: World, tmp_path: Path) -> World:
    """The shared world with a folder of its own."""
    return replace(shared_world, problem=replace(shared_world.problem, folder=tmp_path / "rival"))
