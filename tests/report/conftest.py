"""Run folders without any model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from report_runs import Folder, make_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Folder]:
    """`run_folder(stages=..., classes=..., ...)` writes a new run folder under tmp_path and returns it."""
    made = iter(range(1000))
    return lambda **options: make_run(tmp_path / f"run-{next(made)}", **options)
