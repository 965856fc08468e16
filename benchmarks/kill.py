"""Kill small runs (SIGKILL) at random moments, resume them, and compare every byte with an unbroken run.

    python benchmarks/kill.py --times 200 [--seed 0] [--out DIR]

Two runs on the built-in birds take turns: one with copy-paste, one that learns tokens and paints with the built-in
diffusion model. Not compared: events.jsonl, errors.log, report.html, .lock (they hold times) and caches. Prints a table
and exits 1 where a file differs. What each attempt said is in DIR.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # children are forked: no threads before
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import miniature
from ddb.backends.generators.diffusion.learning import inversion

RUNS = {"copy-paste": {}, "latent diffusion": miniature.DIFFUSION}
SHARE = {"copy-paste": 0.7, "latent diffusion": 0.3}
"""Of the kills."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, metavar="N", help="kills, of both runs together")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the moments at which runs are killed")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new folder for the runs; default: a temporary one")
    asked = parser.parse_args()
    if asked.times < len(RUNS):
        parser.error(f"--times should be {len(RUNS)} or more: a kill of each run")
    miniature.load_libraries()
    inversion.HELD_OUT_PAIRS = 6  # else lessons this short take most of the time
    if asked.out is not None:
        asked.out.mkdir(parents=True)
        return killed(asked.out, asked.times, asked.seed)
    with tempfile.TemporaryDirectory(prefix="ddb-kill-") as folder:
        return killed(Path(folder), asked.times, asked.seed)


def killed(folder: Path, times: int, seed: int) -> int:
    """Kill both runs `times` in all and print the table; 1 where a file differs, else 0."""
    birds, rng = miniature.draw(folder / "birds"), random.Random(seed)
    counts = {name: max(round(times * share), 1) for name, share in SHARE.items()}
    found = {}
    for name, changes in RUNS.items():
        config = miniature.configuration(birds, **changes)
        found[name] = miniature.killed_runs(config, folder / name.replace(" ", "-"), counts[name], rng)
    show(found)
    return int(any(one.differ for one in found.values()))


def show(found: dict[str, miniature.Killed]) -> None:
    """A line a run, and the files that differ."""
    print("| run | kills | resumed runs | killed at | files compared in each | files that differ |")
    print("|---|---|---|---|---|---|")
    for name, one in found.items():
        order = ("opening", *miniature.STAGES, "handing over")
        at = ", ".join(f"{stage} {one.kills[stage]}" for stage in order if one.kills[stage])
        print(f"| {name} | {one.kills.total()} | {one.runs} | {at} | {len(one.files)} | {len(one.differ)} |")
    for name, one in found.items():
        for file in sorted(one.differ):
            print(f"differs ({name}): {file}")


if __name__ == "__main__":
    sys.exit(main())
