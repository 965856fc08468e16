"""A small folder of each world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ddb.pocket.datasets import LAYOUTS, write_pocket
from small_worlds import small


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a world, drawn at the first call."""
    base = tmp_path_factory.mktemp("drawn")

    def folder(world: str) -> Path:
        path = base / "new" / world
        return path if path.exists() else write_pocket(path, small(world))

    return folder


@pytest.fixture(params=sorted(LAYOUTS))
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)
