"""A Ray cluster of two CPUs on this machine, whose workers can import what tests import."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

import ddb
from ddb.engine.cluster.connection import NICENESS


def search_path() -> str:
    """PYTHONPATH for other processes: ddb and the modules that tests share."""
    own = Path(__file__).parent
    return os.pathsep.join(map(str, (Path(ddb.__file__).parents[1], own, own / "engine")))


@contextmanager
def two_cpus() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = search_path()
    os.environ.setdefault(NICENESS, "0")
    try:
        ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
    finally:
        ray.shutdown()
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)
