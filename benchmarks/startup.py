"""Times of commands that compute nothing, and of a new run until its first stage works.

    python benchmarks/startup.py [--run FOLDER] [--times 5]

Each command is started `--times` times; printed are the medians of its processor time (user and system) and of its wall
time. On a machine that does nothing else the two are nearly equal; on a shared one the processor time says what the
command would take alone. `--run`: a folder in which the small run of the built-in world is made where it is not there
(a minute); default: a temporary one. New runs find the world drawn and the models checked, as every second run does.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PRESET = "pocket-waterbirds"
SMALL = (
    *("data.pocket.train=200", "data.pocket.val=60", "data.pocket.test=60", "evaluate.in_distribution=40"),
    *("erm.epochs=1", "retrain.epochs=1", "invert.representatives=4", "invert.steps=2", "invert.check_every=2"),
    *("inpaint.per_class=8", "inpaint.steps=2", "prune.max_rounds=1"),
)
UNTIL = """
import sys
from pathlib import Path
from ddb import pipeline
from ddb.config.load import load_config
from ddb.engine.progress import Lines

def end(*given):
    sys.exit()

class Until(Lines):
    def start(self, *given):
        if sys.argv[1] == "stage":
            end()

    def opening(self):
        from ddb.stages.erm import worker
        worker.fit = end

config = load_config(sys.argv[3], sys.argv[4:], device="cpu")
pipeline.run(config, Path(sys.argv[2]), only="erm", progress=Until(sys.stderr))
"""
"""A new run that ends where its first stage begins ("stage"), or where that stage begins to train ("step")."""


def settings(*more: str) -> list[str]:
    return [PRESET, "--device", "cpu", *(word for one in SMALL for word in ("--set", one)), *more]


def ddb(*words: str) -> list[str]:
    return [sys.executable, "-m", "ddb.cli", *words]


def new_runs(until: str, done: Path, place: Path, times: int) -> list[list[str]]:
    """Commands that start runs in new folders, with the cache of a finished one."""
    folders = [place / f"{until}-{number}" for number in range(times)]
    for folder in folders:
        shutil.copytree(done / "cache", folder / "cache")
    return [[sys.executable, "-c", UNTIL, until, str(folder), PRESET, *SMALL] for folder in folders]


def taken(command: list[str]) -> tuple[float, float]:
    """Processor seconds and wall seconds of a command that succeeds."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - begun


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--run", type=Path)
    words.add_argument("--times", type=int, default=5)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = given.run or Path(place) / "run"
        taken(ddb("run", *settings("--out", str(run))))
        table = {
            "import ddb": [[sys.executable, "-c", "import ddb"]] * given.times,
            "ddb --help": [ddb("--help")] * given.times,
            "ddb status": [ddb("status", str(run))] * given.times,
            "ddb run --dry-run, finished": [ddb("run", *settings("--out", str(run), "--dry-run"))] * given.times,
            "ddb run, finished": [ddb("run", *settings("--out", str(run)))] * given.times,
            "ddb report": [ddb("report", str(run))] * given.times,
            "ddb check": [ddb("check", *settings())] * given.times,
            "import torch, timm": [[sys.executable, "-c", "import torch, timm"]] * given.times,
            "a new run until its first stage begins": new_runs("stage", run, Path(place), given.times),
            "a new run until its first training step": new_runs("step", run, Path(place), given.times),
        }
        print(f"{os.cpu_count()} cores, median of {given.times}\n")
        print("| command | processor s | wall s |\n|---|---|---|")
        for name, commands in table.items():
            times = [taken(command) for command in commands]
            print(f"| {name} | {median(t[0] for t in times):.2f} | {median(t[1] for t in times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
