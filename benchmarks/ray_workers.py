"""How much faster two Ray workers with a thread each are than one, on two cores.

    python benchmarks/ray_workers.py [--images 96] [--repeats 3] [--out runs/ray-workers]

A small run of pocket-waterbirds is computed up to its masks. Stage inpaint (the pocket diffusion model, batches of 8)
is then computed anew with one worker and with two, in turn. Printed: the rate while all workers compute (from their
first batches on, so without their start), the seconds of the whole stage, the ratio of the medians, and whether the
tables are equal. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from ddb import pipeline
from ddb.config import RunConfig
from ddb.config.load import load_config
from ddb.engine.progress import Lines
from ddb.engine.workspace import Workspace

SMALL = (
    "data.pocket.train=240", "data.pocket.val=60", "data.pocket.test=60",
    "erm.epochs=2", "invert.steps=20", "prune.max_rounds=1", "inpaint.steps=10", "inpaint.batch_size=8", "device=cpu",
)  # fmt: skip


class Stopwatch(Lines):
    """Notes when rows of a stage arrive."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.arrivals: list[tuple[float, int]] = []

    def advance(self, rows: int, errors: int) -> None:
        self.arrivals.append((time.monotonic(), rows))
        super().advance(rows, errors)


@dataclass(frozen=True)
class Timed:
    """`rate`: rows a second while all workers compute; `seconds`: of the stage, with the start of the workers."""

    rate: float
    seconds: float
    table: str


def painted(config: RunConfig, before: Path, out: Path, workers: int) -> Timed:
    """Stage inpaint, computed anew in a copy of the run folder `before`."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(before, out)
    watch, began = Stopwatch(), time.monotonic()
    own = config.model_copy(update={"ray": config.ray.model_copy(update={"workers": workers})})
    pipeline.run(own, out, only="inpaint", progress=watch, engine="ray")
    seconds = time.monotonic() - began
    first, later = watch.arrivals[workers - 1][0], watch.arrivals[workers:]
    part = Workspace.at(out).folder("inpaint") / "part-00000.parquet"
    rate = sum(rows for _, rows in later) / (later[-1][0] - first)
    return Timed(rate, seconds, hashlib.sha256(part.read_bytes()).hexdigest())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=96, help="to paint")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/ray-workers"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config("pocket-waterbirds", [*SMALL, f"inpaint.per_class={asked.images // 2}"])
    before = asked.out / "before"
    pipeline.run(config, before, until="segment")
    found: dict[int, list[Timed]] = {1: [], 2: []}
    for _ in range(asked.repeats):
        for workers, times in found.items():
            times.append(painted(config, before, asked.out / f"workers-{workers}", workers))
            print(f"{workers} workers: {times[-1].rate:.2f} rows/s, stage {times[-1].seconds:.1f} s", flush=True)
    rates = {workers: median(one.rate for one in times) for workers, times in found.items()}
    tables = {one.table for times in found.values() for one in times}
    facts = {"rows_per_second": rates, "ratio": rates[2] / rates[1], "equal_tables": len(tables) == 1}
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
