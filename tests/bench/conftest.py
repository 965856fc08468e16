"""A small finished bench (copy-paste, 60 training images), shared by the tests that read one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import miniature
from bench_runs import Finished, config, options, run


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.draw(tmp_path_factory.mktemp("data") / "birds")


@pytest.fixture(scope="session")
def finished(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Three methods, two seeds."""
    out, log, asked, own = tmp_path_factory.mktemp("bench") / "finished", io.StringIO(), options(), config(birds)
    results = run(own, asked, out, log)
    return Finished(own, asked, out, results)
