"""The whole method in miniature, killed (SIGKILL) at random moments and resumed, ends byte for byte as if unbroken.

What holds before every single file operation of the engine is tested in tests/engine/test_kill.py.
"""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ddb
import miniature

KILLS = 14


@pytest.mark.slow
def test_killed_runs_end_like_an_unbroken_one(tmp_path: Path) -> None:
    source = Path(ddb.__file__).parents[1]
    process = subprocess.run(
        [sys.executable, miniature.__file__, str(tmp_path), str(KILLS), "0"],
        env=os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    found = json.loads(process.stdout.splitlines()[-1])
    assert found["differ"] == []
    assert sum(found["kills"].values()) >= KILLS
    assert len(set(found["kills"]) & set(miniature.STAGES)) >= 3
    for pattern in ("4-inpaint/*/part-00000.parquet", "7-retrain/*/classifier/model.safetensors", "metrics.json"):
        assert fnmatch.filter(found["files"], pattern), pattern
    images = [name for name in found["files"] if name.startswith("balanced/train/") and name.endswith(".png")]
    assert len(images) > miniature.SIZES.train
