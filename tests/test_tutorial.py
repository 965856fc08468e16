"""docs/tutorial.md from top to bottom, on small numbers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
SMALL = {
    "data.pocket.train": 160,
    "data.pocket.val": 60,
    "data.pocket.test": 400,
    "erm.epochs": 2,
    "invert.steps": 2,
    "invert.check_every": 1,
    "invert.representatives": 4,
    "inpaint.per_class": 8,
    "inpaint.steps": 2,
    "retrain.epochs": 1,
    "evaluate.in_distribution": 0,
    "prune.psi": "off",
    "prune.rho": "off",
}


def commands() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


SHELL = """set -e
ddb() {
  verb=$1; shift
  more=$SMALL
  if [ "$verb" = audit ] && [ "$1" = runs/repaired ]; then more=""; set -- "${@:1:$#-2}"; fi
  "$PYTHON" -m ddb.cli "$verb" "$@" $more
}
python() { "$PYTHON" "$@"; }
"""
"""`ddb` with small numbers. The second audit takes its run's settings, and no bars: a small run does not reach them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all commands of the page have run."""
    folder = tmp_path_factory.mktemp("tutorial")
    small = " ".join(f"--set {name}={value}" for name, value in SMALL.items())
    done = subprocess.run(
        ["bash", "-c", SHELL + "\n".join(commands())],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "SMALL": small},
        text=True,
        capture_output=True,
        check=False,
        timeout=1500,
    )
    (folder / "out.txt").write_text(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_both_audits_have_the_figures_that_are_compared(folder: Path) -> None:
    for when in ("before", "after"):
        figures = json.loads((folder / f"runs/audit-{when}/audit.json").read_text())["figures"]
        assert 0 <= figures["object_exchanged"]["figure"]["value"] <= 1
        assert (folder / f"runs/audit-{when}/audit.html").is_file()


def test_the_run_scored_the_audited_model_and_trained_none(folder: Path) -> None:
    (erm,) = (folder / "runs/repaired/1-erm").iterdir()
    assert (erm / "adopted.json").is_file()
    assert (folder / "runs/repaired/classifier/config.json").is_file()


def test_pages_are_written(folder: Path) -> None:
    for page in ("runs/explain/explain.html", "runs/shortcut/discover.html", "runs/repaired/report.html"):
        assert (folder / page).is_file()
    assert (folder / "runs/repaired/discover").is_dir()


def test_the_difference_is_printed(folder: Path) -> None:
    assert re.search(r"^object_exchanged +\d\.\d{3} -> \d\.\d{3}$", (folder / "out.txt").read_text(), re.MULTILINE)
