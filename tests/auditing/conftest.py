"""Data sets of the audit's tests, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit_worlds import write_world


@pytest.fixture(scope="session")
def confounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the world in which each class is at its own place."""
    return write_world(tmp_path_factory.mktemp("world") / "confounded", balanced=False)
