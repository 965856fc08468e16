"""What the files of all public codes share: `python -m benchmarks.parity.CODE --source DIR --out DIR [--seeds N]
[--only NAME]` runs every method of the code for every seed whose result is not there yet."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.parity.ground import Ground, Row

from ddb.engine.files import read_json, write_json

log = logging.getLogger("parity")


def main(
    rows: Sequence[Row],
    prepare_code: Callable[[Path, Path], None],
    run: Callable[[Row, Ground, Path, int], float],
) -> None:
    """`prepare_code(source, copy)` makes the patched copy and its modules importable; `run(row, ground, copy, seed)`
    gives the worst-group accuracy on the test images of what the public code trained."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, required=True, help="checkout of the public code")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=[row.name for row in rows])
    given = parser.parse_args()
    speak()
    ground = Ground(given.out.resolve())
    copy = ground.out / "copies" / rows[0].code
    prepare_code(given.source.resolve(), copy)
    for row in rows:
        for seed in range(given.seeds) if given.only in (None, row.name) else ():
            kept(ground, "public", row, seed, lambda row=row, seed=seed: run(row, ground, copy, seed))


def speak() -> None:
    """Say what is measured, on standard error, and nothing of what the public codes log."""
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False


def result_path(ground: Ground, side: str, row: Row, seed: int) -> Path:
    return ground.out / side / f"{row.name}-{seed}.json"


def kept(ground: Ground, side: str, row: Row, seed: int, measure: Callable[[], float]) -> float:
    """The worst-group accuracy that is on disk, or is measured now and written."""
    path = result_path(ground, side, row, seed)
    found = read_json(path)
    if found is None:
        started = time.monotonic()
        found = {"worst_group_accuracy": measure()}
        found["seconds"] = round(time.monotonic() - started, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
        log.info("%s %s, seed %d: %.4f (%.0f s)", side, row.name, seed, found["worst_group_accuracy"], found["seconds"])
    return float(found["worst_group_accuracy"])
