"""Both sides of every public code that is there, then the table. See the folder's docstring."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.parity import ours
from benchmarks.parity.command import kept, speak
from benchmarks.parity.ground import Ground, Row
from benchmarks.parity.scripts import GENERAL
from benchmarks.parity.table import Line, rendered, sides

CODES = ("dfr", "afr", "lisa", "jtt", "spuco", "subpopbench")


def main() -> None:
    parser = argparse.ArgumentParser(description="Worst-group accuracy of the public code and of ours.")
    parser.add_argument("--sources", type=Path, required=True, help="folder with one checkout a public code")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--codes", default=",".join(CODES))
    given = parser.parse_args()
    speak()
    ground = Ground(given.out.resolve())
    lines: list[Line] = []
    asked = [code for code in CODES if code in given.codes.split(",")]
    there = [code for code in asked if (given.sources / code).is_dir()]
    for code in there:
        command = ["--source", given.sources / code, "--out", given.out, "--seeds", given.seeds]
        subprocess.run([sys.executable, "-m", f"benchmarks.parity.{code}", *map(str, command)], check=True)
        lines += [both(ground, row, given.seeds) for row in import_module(f"benchmarks.parity.{code}").ROWS]
        print(rendered(lines), flush=True)
    patches = {code: import_module(f"benchmarks.parity.{code}").patches() for code in there}
    print(f"\n{rendered(lines)}\n\n{sides([line.row for line in lines], patches)}\n\nAll: {GENERAL}.")
    if left := [code for code in asked if code not in there]:
        print(f"Not there, left out: {', '.join(left)}.")


def both(ground: Ground, row: Row, seeds: int) -> Line:
    """The row with the figures of both sides; the public code's are on disk."""

    def missing() -> float:
        raise SystemExit(f"{row.code} left no result of {row.name}; see what it printed.")

    public = {seed: kept(ground, "public", row, seed, missing) for seed in range(seeds)}
    own = {
        seed: kept(ground, "ours", row, seed, lambda seed=seed: ours.run(row, ground, seed)) for seed in range(seeds)
    }
    return Line(row, public, own)


if __name__ == "__main__":
    main()
