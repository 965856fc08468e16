"""benchmarks/bench_times.py: sums of the times that a bench logged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench_runs import Finished

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_times.py"


def times(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def write(path: Path, *events: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def test_times_are_summed_by_part_seed_and_last_attempt(tmp_path: Path) -> None:
    def fit(seed: int, name: str, seconds: float, lr: float = 0.1) -> dict[str, object]:
        return {"event": "fit", "seed": seed, "name": name, "setting": {"lr": lr}, "seconds": seconds}

    def stage(name: str, seconds: float) -> dict[str, object]:
        return {"event": "finished", "stage": name, "seconds": seconds}

    bench = tmp_path / "bench-x"
    write(
        bench / "events.jsonl",
        fit(7, "erm", 600),
        fit(7, "erm", 60),  # made again: counts instead of the first
        fit(7, "erm", 60, lr=0.2),
        fit(7, "pruning both", 30),
        fit(7, "counts 0.25", 90),
        fit(8, "erm", 6000),  # the second seed
    )
    write(bench / "seed-0/run/events.jsonl", stage("erm", 120), stage("inpaint", 180), stage("retrain", 6000))
    found = times(str(bench), "--seeds", "1")
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "| bench-x | 5.0 | 2.0 | 0.5 | – | 1.5 | 9.0 |"


def test_a_finished_bench_has_times(finished: Finished) -> None:
    found = times(str(finished.out), "--seeds", "2")
    name, runs, methods = found.stdout.splitlines()[-1].strip("| ").split(" | ")[:3]
    assert name == finished.out.name
    assert "–" not in (runs, methods)


def test_a_folder_without_times_is_named(tmp_path: Path) -> None:
    refused = times(str(tmp_path))
    assert refused.returncode == 2
    assert str(tmp_path) in refused.stderr
