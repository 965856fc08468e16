"""benchmarks/bench_tables.py: marked places of a document are filled, others and the text between stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench_runs import Finished
from ddb.bench.show.tables import interval

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_tables.py"
DOCUMENT = """before
<!-- bench: main -->
old
<!-- /bench -->
between
<!-- bench: pruning -->
no figures
<!-- /bench -->
<!-- bench: labels -->
kept
<!-- /bench -->
"""


def fill(document: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments, "--into", str(document)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_only_the_places_asked_for_are_filled(finished: Finished, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(DOCUMENT)
    filled = fill(document, str(finished.out / "results.json"), "--places", "main,pruning")
    assert filled.returncode == 0, filled.stderr
    before, table, after = document.read_text().partition("<!-- /bench -->")
    start, after_old = DOCUMENT.split("old\n<!-- /bench -->")
    assert table + after == "<!-- /bench -->" + after_old
    assert before.startswith(start)
    for method in finished.results.methods:
        assert any(
            line.startswith(f"| {method.title} |") and interval(method.worst) in line for line in before.split("\n")
        )


def test_a_bench_that_has_not_finished_is_named(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(DOCUMENT)
    refused = fill(document, str(tmp_path))
    assert refused.returncode == 2
    assert str(tmp_path / "results.json") in refused.stderr
    assert document.read_text() == DOCUMENT
